"""The import law: torch and astropy meet only where inference does, and what needs neither starts without them."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import galvae

PACKAGE = Path(galvae.__file__).parent
MODULES = {
    ".".join(("galvae", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
JOINS = ("galvae.inference", "galvae.paper", "galvae.sampling", "galvae.verify")
TORCH = {"torch", "safetensors"}
ASTROPY = {"astropy", "photutils"}
# What an import by name costs: third-party packages that are slow to start.
HEAVY = TORCH | ASTROPY | {"matplotlib", "scipy", "pandas", "h5py", "sklearn"}


def imported(tree, *, inside):
    """Names of the modules that a file imports: anywhere, or outside function bodies; never for type checkers only."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= imported(node, inside=inside)
    return found


@cache
def direct(module, *, inside):
    return frozenset(imported(ast.parse(MODULES[module].read_text(encoding="utf-8")), inside=inside))


def reached(module, *, inside):
    """Top-level packages that importing a module imports, through our own modules; `inside`: also when it is used."""
    seen, todo, packages = set(), [module], set()
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for name in direct(here, inside=inside):
            if name in MODULES:
                todo.append(name)
            packages.add(name.partition(".")[0])
    return packages


def starts(module):
    """Whether a command starts with it, or it is a package: it may use anything, inside function bodies."""
    package = MODULES[module].name == "__init__.py"
    return package or module.startswith("galvae.cli.") or module in ("galvae.__main__", "galvae.pipeline")


def joins(module):
    return any(module == name or module.startswith(f"{name}.") for name in JOINS)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not joins(name) and not starts(name)))
def test_no_module_reaches_both_worlds(module):
    """Not even when its functions are called: what it imports inside them counts, and what those modules import."""
    packages = reached(module, inside=True)
    assert not (packages & TORCH and packages & ASTROPY)


@pytest.mark.parametrize("module", sorted(filter(starts, MODULES)))
def test_commands_and_packages_import_nothing_heavy_outside_function_bodies(module):
    assert not reached(module, inside=False) & HEAVY


def test_imports_point_one_way():
    """cli -> (training, inference, catalog) -> (model, data) -> what needs nothing of ours."""
    ranks = {
        "cli": 5,
        "paper": 4,
        "pipeline": 4,
        "verify": 4,
        "inference": 3,
        "training": 2,
        "uses": 2,
        "model": 1,
        "data": 1,
    }

    def rank(name):
        part = name.split(".")[1] if "." in name else ""
        return ranks.get(part, 0)

    settings = {f"galvae.{part}.settings" for part in ("data", "inference", "model", "training")}
    for module in MODULES:
        if rank(module) == 0:
            continue
        for name in direct(module, inside=True) & MODULES.keys() - settings:
            assert rank(name) <= rank(module), f"{module} imports {name}"


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise AssertionError(f"{{name}} is imported")
sys.meta_path.insert(0, Block())
"""


def run(code, *, without):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(blocked=set(without)) + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_starting_up_needs_neither_world():
    run(
        """
import galvae, galvae.cli.main as main
galvae.__version__
try:
    main.run(["--help"])
except SystemExit as ended:
    assert not ended.code
try:
    main.run(["recipe", "list"])
except SystemExit as ended:
    assert not ended.code
""",
        without=HEAVY,
    )


def test_training_runs_without_astropy(store, tiny_recipe, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny_recipe().to_toml())
    words = ["train", str(store.path), "-o", str(tmp_path / "run"), "--recipe", str(recipe), "--max-steps", "2", "-q"]
    words += ["--device", "cpu"]
    run(
        f"""
from galvae.cli.main import run
try:
    run({words!r})
except SystemExit as ended:
    assert not ended.code
from galvae.training.checkpoint import load_model
load_model({str(tmp_path / "run")!r})
""",
        without=ASTROPY,
    )
    assert (tmp_path / "run" / "model.json").is_file()


def test_catalogs_are_read_and_joined_and_files_ingested_without_torch():
    modules = sorted(name for name in MODULES if "torch" not in reached(name, inside=True))
    assert {"galvae.catalog", "galvae.crossmatch", "galvae.sky", "galvae.data.ingest", "galvae.data.simulate"} <= set(
        modules
    )
    run(
        f"""
import importlib
for name in {[name for name in modules if not name.endswith("__main__")]!r}:
    importlib.import_module(name)
import galvae
galvae.read_catalog, galvae.write_catalog, galvae.join, galvae.ImageStore
""",
        without=TORCH,
    )


def test_the_compiler_is_imported_where_something_is_compiled():
    """It takes seconds."""
    code = "import sys, galvae.training.fit, galvae.inference.catalog; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
