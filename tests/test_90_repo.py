"""House rules that no linter holds: sizes, folders, words, the sample, the wheel, and what a clone needs."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import rasterio
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {".ci", "benchmarks", "docs", "pipeline", "sample_data", "tests", "workflows"}
SOURCES = sorted(
    path for folder in ("pipeline", "benchmarks", "sample_data", "workflows") for path in (ROOT / folder).rglob("*.py")
)
ATTRIBUTION = "Contains modified Copernicus Sentinel data 2016."
CARRIED = {"affine": "rasterio", "llvmlite": "numba", "markupsafe": "jinja2"}  # module: who brings and documents it


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def tracked_lines() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        yield from ((f"{names(path)}:{number}", line) for number, line in enumerate(lines, 1))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(node: ast.AST) -> Iterator[str]:
    """Top-level names of the modules imported anywhere below a node."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield child.module.split(".")[0]


def declared(*extras: str) -> set[str]:
    """Names of the distributions that the project file asks for, normalised."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(line for e in extras for line in project["optional-dependencies"][e])]
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(ast.parse(text))}
    assert not {name: length for name, length in long.items() if length > 60}


@pytest.mark.parametrize("path", SOURCES, ids=names)
def test_functions_import_nothing_but_optional_extras(path):
    optional = declared("cluster", "bench", "bench-torch", "bench-bm3d") - declared()
    late = {name for function in functions(ast.parse(path.read_text())) for name in imported(function)}
    assert late <= optional


def test_every_import_of_the_package_is_a_declared_dependency():
    providers = importlib.metadata.packages_distributions()
    allowed = declared("cluster")
    missing = set()
    for path in SOURCES:
        if path.is_relative_to(ROOT / "pipeline"):
            for name in set(imported(ast.parse(path.read_text()))) - {"pipeline", *sys.stdlib_module_names}:
                owners = {owner.lower().replace("_", "-") for owner in providers.get(name, [name])}
                if not owners & allowed and CARRIED.get(name) not in allowed:
                    missing.add(f"{name} in {names(path)}")
    assert not missing


def test_nothing_is_left_for_later():
    marks = "|".join(mark.replace("-", "") for mark in ("TO-DO", "FIX-ME", "XX-X"))  # not to find itself
    words = re.compile(rf"\b({marks})\b")
    assert not [place for place, line in tracked_lines() if words.search(line)]


def test_no_file_knows_the_machine_it_was_written_on():
    roots = re.compile(rf"(?<![\w.])/({'|'.join(('work', 'root', 'home', 'Users'))})/")
    assert not [place for place, line in tracked_lines() if roots.search(line)]


def test_the_top_folders_are_the_design_s():
    found = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    assert found <= FOLDERS
    assert {"pipeline", "sample_data", "tests", "workflows"} <= found


def test_tests_are_numbered_by_floor():
    found = [path.stem for path in (ROOT / "tests").glob("test*.py")]
    assert not [stem for stem in found if not re.fullmatch(r"test_\d\d_\w+", stem)]
    assert len(found) > 1


def test_the_readme_names_the_two_commands_of_a_newcomer():
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def test_the_sample_is_small_real_and_attributed(sample_scene):
    assert sample_scene.stat().st_size <= 3_000_000
    assert ATTRIBUTION in (ROOT / "sample_data" / "README.md").read_text().splitlines()
    with rasterio.open(sample_scene) as scene:
        assert scene.tags()["TIFFTAG_COPYRIGHT"] == ATTRIBUTION
        assert (scene.count, scene.shape, scene.crs.to_epsg()) == (10, (488, 488), 32618)
        assert scene.descriptions == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
        assert scene.profile["compress"] == "deflate"
        assert scene.read(8).std() > 500  # fields, marsh and sea: not one flat surface


def test_the_sample_is_the_crop_its_readme_describes(sample_scene, shared_data):
    with rasterio.open(sample_scene) as crop, rasterio.open(shared_data / "s2_18SVG_west_10band_20m.tif") as parent:
        window = parent.window(*crop.bounds)
        assert (round(window.col_off), round(window.row_off)) == (72, 485)
        assert (crop.read() == parent.read(window=window)).all()


def test_the_wheel_holds_the_package_alone():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["pipeline"]}
    assert (ROOT / "pipeline" / "py.typed").is_file()


@pytest.mark.parametrize(
    "target", ["install", "demo", "test", "lint", "docs", "bench", "faults", "image", "clean", "distclean"]
)
def test_make_knows_its_targets(target):
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def test_make_names_the_remedy_where_python_is_missing(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for python, remedy in (("", "no Python >= 3.11"), ("false", "apt-get install python3-venv")):
        made = subprocess.run(
            ["make", f"PYTHON={python}", "install"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert made.returncode != 0
        assert remedy in made.stderr
        assert not (tmp_path / ".venv").exists()


def test_commit_hooks_run_the_tools_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    tools = {Path(line.split()[0]).name for line in lint.splitlines()}
    assert {Path(hook["entry"].split()[0]).name for hook in hooks[0]["hooks"]} == tools
