"""Workers of a dask-gateway: pip install 'terrasketch[cluster]' dask-gateway.

    python gateway.py workflow.yaml --out /data/out

The gateway's image must hold this version of terrasketch (docs/docker.md), and its workers must see the scenes and the
outputs under the same paths as this client, or as URLs. When it is stopped, the same command resumes on a new cluster.
The run goes over the Client that is open here: it holds the gateway's credentials, which no address tells.
"""

import sys

from dask_gateway import Gateway

from pipeline.cli.main import main

ADDRESS = None  # edit: "https://gateway.example.org"; None: what Dask's configuration says
WORKERS = 10  # edit

if __name__ == "__main__":
    with Gateway(ADDRESS) as gateway, gateway.new_cluster() as cluster, cluster.get_client() as client:
        cluster.scale(WORKERS)
        client.wait_for_workers(1)
        main(["run", *sys.argv[1:], "--scheduler", cluster.scheduler_address])
