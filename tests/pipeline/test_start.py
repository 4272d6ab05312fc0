"""What a job loads before its first frame: a second of imports is a second of every job, in every worker."""

import json
import subprocess
import sys

import pytest

# torch and what comes with it take seconds and half a gigabyte; a network on a CPU needs none of it once it was made
NEVER = {"onnx", "onnxscript", "safetensors", "sklearn", "timm", "torch", "torchvision"}
PROGRAM = """
import json, sys
from pipeline.jobs import ray_engine as cluster
from pipeline.cli import cli

def loaded():
    import sys
    return sorted(name for name in sys.modules if "." not in name)

class Looking(cluster.RayEngine):
    def __exit__(self, *error):
        import ray
        print(json.dumps({"worker": ray.get(ray.remote(num_cpus=1)(loaded).remote())}))
        super().__exit__(*error)

cluster.RayEngine = Looking
cli.main(sys.argv[1:], standalone_mode=False)
print(json.dumps({"driver": loaded()}))
"""


@pytest.mark.parametrize("engine", [("--inline",), ("--workers", "1")])
def test_a_job_on_a_cpu_loads_no_torch_in_driver_or_worker(world, reference, tmp_path, engine):
    assert reference.exists(), "and so the networks were made ready before"
    words = world.options(tmp_path / "store", "--quiet", *engine)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    modules = {who: set(names) for one in told for who, names in one.items()}
    assert set(modules) == ({"driver"} if "--inline" in engine else {"driver", "worker"})
    assert {who: names & NEVER for who, names in modules.items()} == {who: set() for who in modules}
    assert "openvino" in modules["driver" if "--inline" in engine else "worker"], "here the networks ran"
