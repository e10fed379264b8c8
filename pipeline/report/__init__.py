"""The report of a run: plain values and arrays in, one self-contained HTML file out."""

from pipeline.bands import Composite, composites, default_rgb
from pipeline.report.data import Detail, Features, Noise, Rates, ReportData, Run, Source, Stage, Storage, picture_step
from pipeline.report.index import IndexRow, is_index, render_index, thumbnail_of, write_index
from pipeline.report.page import render, write_report

__all__ = [
    "Composite",
    "Detail",
    "Features",
    "IndexRow",
    "Noise",
    "Rates",
    "ReportData",
    "Run",
    "Source",
    "Stage",
    "Storage",
    "composites",
    "default_rgb",
    "is_index",
    "picture_step",
    "render",
    "render_index",
    "thumbnail_of",
    "write_index",
    "write_report",
]
