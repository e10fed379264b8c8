"""The report of a run: plain values and arrays in, one self-contained HTML file out."""

from pipeline.bands import Composite, composites, default_rgb
from pipeline.report.data import Detail, Features, Noise, ReportData, Source, Stage, Storage, picture_step
from pipeline.report.page import render, write_report

__all__ = [
    "Composite",
    "Detail",
    "Features",
    "Noise",
    "ReportData",
    "Source",
    "Stage",
    "Storage",
    "composites",
    "default_rgb",
    "picture_step",
    "render",
    "write_report",
]
