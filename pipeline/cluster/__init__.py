"""threads | processes | an address | a scheduler file -> who runs the tasks of a map, and how many of them at once."""

from pipeline.cluster.opening import Cluster, open_cluster
from pipeline.cluster.where import Where, where

__all__ = ["Cluster", "Where", "open_cluster", "where"]
