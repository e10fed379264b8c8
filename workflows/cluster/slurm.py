"""Workers as SLURM jobs, by dask-jobqueue: pip install 'terrasketch[cluster]' dask-jobqueue.

    python slurm.py workflow.yaml --out /scratch/out

Run it where sbatch is, in tmux or as a small job of its own: it is scheduler and driver. The nodes must see this
Python environment, the scenes and the outputs under the same paths. Jobs that SLURM preempts, or that reach their
walltime, are submitted again; their tiles are computed elsewhere. When it is stopped, the same command resumes.
The scheduler listens on INTERFACE without a password: on a network of yours alone, else see Dask's TLS.
"""

import sys

from dask_jobqueue import SLURMCluster
from distributed import Client

from pipeline.cli.main import main

QUEUE, ACCOUNT = "normal", None  # edit: as of sbatch -p and -A
JOBS, THREADS, MEMORY = 10, 4, "8GB"  # edit: of each job, `terrasketch plan` says how much memory THREADS tasks need
WALLTIME, LIFETIME = "04:00:00", "230m"  # a worker leaves before SLURM kills it
INTERFACE = None  # the network that nodes share, such as "ib0"

if __name__ == "__main__":
    with (
        SLURMCluster(
            queue=QUEUE,
            account=ACCOUNT,
            cores=THREADS,
            processes=1,
            memory=MEMORY,
            walltime=WALLTIME,
            interface=INTERFACE,
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            worker_extra_args=["--lifetime", LIFETIME, "--lifetime-stagger", "5m"],
        ) as cluster,
        Client(cluster) as client,
    ):
        cluster.adapt(minimum_jobs=JOBS, maximum_jobs=JOBS)  # as many again for those that are gone
        client.wait_for_workers(1)  # as long as the queue takes
        main(["run", *sys.argv[1:], "--scheduler", cluster.scheduler_address])
