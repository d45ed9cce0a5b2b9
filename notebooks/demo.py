"""Run quickstart.ipynb for real, kernel killed in the middle, and print what a reader sees.

    python notebooks/demo.py            # run it and print
    python notebooks/demo.py --write    # and keep the outputs in the notebook

A cell tagged `kill-kernel` is where the kernel's process group gets SIGKILL and a new kernel takes
over; one tagged `raises-exception` is expected to fail. Any other failure ends with status 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent


class Demo:
    """One run of a notebook, through as many kernels as it takes."""

    def __init__(self, notebook: Any, directory: str) -> None:
        self.notebook = notebook
        self.directory = directory
        self.client = self._new_kernel()

    def _new_kernel(self) -> NotebookClient:
        client = NotebookClient(
            self.notebook,
            km=KernelManager(),
            timeout=300,
            resources={"metadata": {"path": self.directory}},
        )
        client.start_new_kernel(cwd=self.directory)
        client.start_new_kernel_client()
        return client

    def _kill_kernel(self) -> None:
        pid = self.client.km.provisioner.pid  # a local kernel has one
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        print("\n  *** the kernel's process group got SIGKILL; a new kernel takes over ***")
        self.end()
        self.client = self._new_kernel()

    def end(self) -> None:
        """End the present kernel."""
        self.client.kc.stop_channels()
        self.client.km.shutdown_kernel(now=True)

    def run(self) -> bool:
        """Run all cells; whether each went as its tags say."""
        for number, cell in enumerate(self.notebook.cells):
            tags = cell.metadata.get("tags", [])
            if cell.cell_type != "code":
                print(f"\n{cell.source}")
                continue
            if "kill-kernel" in tags:
                self._kill_kernel()
            print("\n" + "\n".join(f"  | {line}" for line in cell.source.splitlines()))
            try:
                self.client.execute_cell(cell, number)
                failed = False
            except CellExecutionError:
                failed = True
            for output in cell.outputs:
                print_output(output)
            if failed and "raises-exception" not in tags:
                # Nothing below may be trusted to do what its text says.
                print("  !!! this cell must not fail")
                return False
        return True


def print_output(output: Any) -> None:
    """Print one output of a cell as a terminal can show it."""
    if output.output_type == "stream":
        text = output.text
    elif output.output_type == "error":
        text = "\n".join(output.traceback)
    else:
        kinds = [kind for kind in output.data if kind.startswith("image/")]
        text = output.data.get("text/plain", "")
        if kinds:
            text += f"   [{', '.join(kinds)}]"
    print("\n".join(f"    {line}" for line in text.rstrip("\n").splitlines()))


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("notebook", nargs="?", default=str(HERE / "quickstart.ipynb"))
    parser.add_argument("--write", action="store_true", help="keep the outputs in the notebook")
    options = parser.parse_args()
    notebook = nbformat.read(options.notebook, as_version=4)
    with tempfile.TemporaryDirectory(prefix="persist-demo-") as directory:
        # The reader's own jobs have the same names.
        os.environ["PERSIST_ROOT"] = f"{directory}/.persist"
        os.environ.pop("PERSIST_MANAGER", None)
        demo = Demo(notebook, directory)
        try:
            good = demo.run()
        finally:
            demo.end()
    if options.write:
        nbformat.write(notebook, options.notebook)
    print("\nEvery cell went as it should." if good else "\nThe demonstration failed.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
