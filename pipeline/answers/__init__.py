"""Answers from features: a block of features in, a map of similarity, groups, anomalies or predictions out."""

from pipeline.answers.annulus import Annulus
from pipeline.answers.anomaly import Anomaly, Background, Moments, Water
from pipeline.answers.kmeans import MOST_GROUPS, Groups
from pipeline.answers.regress import Regressor
from pipeline.answers.scaling import Scaling
from pipeline.answers.similar import Similar, best, peaks

__all__ = [
    "MOST_GROUPS",
    "Annulus",
    "Anomaly",
    "Background",
    "Groups",
    "Moments",
    "Regressor",
    "Scaling",
    "Similar",
    "Water",
    "best",
    "peaks",
]
