import subprocess
import sys
from pathlib import Path

from tests.videos import write_video

SCRIPT = """
import sys
from pipeline.planning.find import find_videos
from pipeline.planning.plan import Planned
from pipeline.planning.probing import plan_videos
from schemas.config import ExtractSettings
from schemas.streams import Rgb
settings = ExtractSettings(streams=(Rgb("any"),))
results = plan_videos([(found, 0) for found in find_videos(sys.argv[1])], settings, inline=False)
assert len(results) == 2 and all(isinstance(result, Planned) for result in results), results
print("planned", __file__)
"""


def test_a_script_without_a_guard_can_probe_and_is_run_once(tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("a.avi", "b.avi"):
        write_video(tmp_path / "videos" / name, frames=3, codec="mpeg4")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "videos")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""},
    )
    assert done.stdout == f"planned {script}\n", done.stderr
