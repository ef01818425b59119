"""What the page of many devices shows: scripts that a shell takes, and commands that exist."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from training_data import write_dataset

from ddspx.cli import _COMMANDS
from ddspx.cli._parser import parse
from ddspx.cli._train import train

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "many_devices.md").read_text(encoding="utf-8")
(SLURM,) = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```", PAGE, re.M | re.S)
(JOBSET,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
# Starts a task for each process, with the variables that Slurm sets, and passes SIGTERM on.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_STEP_NUM_NODES=1
for task in 0 1; do
  SLURM_PROCID=$task SLURM_LOCALID=$task "$@" > "task-$task.txt" 2>&1 &
  tasks+=($!)
done
trap 'kill -TERM "${tasks[@]}"; trap - TERM' TERM
for task in "${tasks[@]}"; do
  until wait "$task"; status=$?; ! kill -0 "$task" 2> /dev/null; do :; done
  [ $status = 0 ] || exit $status
done
"""
DDSPX = """#!/bin/bash
exec {python} -c "
import sys
from training_data import small_model
from ddspx.cli import main
from ddspx.models.autoencoder import AutoencoderConfig
AutoencoderConfig.small = lambda **_: small_model()
sys.exit(main())
" "$@" --steps "$STEPS" --evaluate-every 5
"""


def check_syntax(script, shell="bash"):
    run = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr


def pod():
    (job,) = yaml.safe_load(JOBSET)["spec"]["replicatedJobs"]
    return job["name"], job["template"]["spec"]


def test_the_jobset_starts_the_processes_that_its_command_names():
    name, spec = pod()
    assert spec["completionMode"] == "Indexed" and spec["backoffLimit"] == 0
    (container,) = spec["template"]["spec"]["containers"]
    (script,) = container["args"]
    check_syntax(script, "sh")
    command = script.partition("&\n")[0].replace("\\\n", " ")
    words = [word.replace("$JOB_COMPLETION_INDEX", "1") for word in shlex.split(command)]
    called = parse(train, words[2:], program="ddspx train", usage=_COMMANDS["train"][0])
    others = called.keywords["others"]
    whole = yaml.safe_load(JOBSET)["metadata"]["name"]
    # The first pod of the first job, by the name that a JobSet gives it.
    assert others.coordinator == f"{whole}-{name}-0-0.{whole}:1234"
    assert others.processes == spec["parallelism"] == spec["completions"]
    (mount,), (volume,) = container["volumeMounts"], spec["template"]["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert str(called.keywords["output"]).startswith(mount["mountPath"])


def test_the_slurm_script_is_one_and_has_a_task_for_each_gpu():
    check_syntax(SLURM)
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SLURM, re.M))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert options["signal"] == "B:TERM@120" and options["open-mode"] == "append"
    assert "requeue" in options


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Slurm does not run on Windows")
def test_the_slurm_script_trains_is_stopped_queued_again_and_finishes(tmp_path):
    write_dataset(tmp_path / "dataset", {"train": 4, "valid": 1})
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {
        "srun": SRUN,
        "ddspx": DDSPX.format(python=sys.executable),
        "scontrol": '#!/bin/bash\necho "$@" >> queued.txt\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "train.sbatch").write_text(SLURM)
    path = [ROOT, ROOT / "tests", ROOT / "tests" / "training", os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(map(str, path)),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2",
        "SLURM_JOB_ID": str(os.getpid()),
    }

    def submitted(steps):
        return subprocess.Popen(
            ["bash", "train.sbatch"], cwd=tmp_path, env=environment | {"STEPS": str(steps)}
        )

    def said():
        return "\n".join(path.read_text() for path in sorted(tmp_path.glob("task-*.txt")))

    log = tmp_path / "my-instrument.run" / "logs" / "metrics.jsonl"
    job = submitted(100_000)
    began = time.monotonic()
    while not (log.exists() and "train/loss" in log.read_text()):
        assert job.poll() is None, said()
        if time.monotonic() > began + 300:
            break
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 0, said()
    assert (tmp_path / "queued.txt").read_text() == f"requeue {os.getpid()}\n"
    (ended,) = map(int, re.findall(r"Ended at step (\d+)", said()))
    names = (path.name for path in tmp_path.glob("my-instrument.run/checkpoints/*"))
    assert max(int(name) for name in names if name.isdigit()) == ended
    job = submitted(ended + 3)
    assert job.wait(120) == 0, said()
    assert f"resuming from step {ended}" in said()
    assert f"Ended at step {ended + 3}" in said()
    assert len((tmp_path / "queued.txt").read_text().splitlines()) == 1
