"""The workflow: what a YAML file may say, checked at the door.

    scene.yaml -> nodes with line numbers -> pydantic models -> plain arguments for the floors below

Paths in a workflow are relative to its own folder. An unknown or wrong key is named with its line.
"""

from pipeline.config.models import Compress, Denoise, Execution, Features, Mode, Read, Workflow, Write, json_schema
from pipeline.config.reading import load_workflow

__all__ = [
    "Compress",
    "Denoise",
    "Execution",
    "Features",
    "Mode",
    "Read",
    "Workflow",
    "Write",
    "json_schema",
    "load_workflow",
]
