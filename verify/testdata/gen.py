"""Write verify/testdata/mistral-window-7.safetensors and logits.npy.

    $BOWLINE_PEERS/venv/bin/python verify/testdata/gen.py

The Mistral of testdata/checkpoints with a sliding window of 7, odd and shorter than the
prompt, run by transformers; and the logits of its first rows as numpy writes them.
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEST = HERE.parent.parent / "testdata"
sys.path += [str(TEST / "peers"), str(TEST / "gen")]
import numpy as np
from safetensors.numpy import load_file

import hf_load
import provenance

SOURCE = TEST / "checkpoints/mistral"


def main():
    ids = [int(x) for x in load_file(TEST / "expected/mistral/logits.safetensors")["input_ids"]]
    with tempfile.TemporaryDirectory() as t:
        folder = Path(t) / "mistral"
        shutil.copytree(SOURCE, folder)
        config = json.loads((folder / "config.json").read_text())
        config["sliding_window"] = 7
        (folder / "config.json").write_text(json.dumps(config))
        model, info = hf_load.load(str(folder))
    got = hf_load.run(model, ids)
    hf_load.save(HERE / "mistral-window-7.safetensors", {"input_ids": np.array(ids, np.int64), **got}, hf_load.metadata(info))
    for name, dtype, shape in [("f2", "<f2", (3, 5)), ("f4", "<f4", (3, 5)), ("f8", "<f8", (1, 3, 5))]:
        np.save(HERE / f"{name}.npy", np.ascontiguousarray(got["logits"][:3, :5]).astype(dtype).reshape(shape))
    for version in (2, 3):
        with open(HERE / f"v{version}.npy", "wb") as f:
            np.lib.format.write_array(f, got["logits"][:3, :5].astype("<f4"), version=(version, 0))
    np.save(HERE / "fortran.npy", np.asfortranarray(got["logits"][:3, :5]))
    np.save(HERE / "object.npy", np.array([["a", None]], dtype=object), allow_pickle=True)
    np.save(HERE / "big-endian.npy", got["logits"][:3, :5].astype(">f4"))
    provenance.write(HERE, "transformers " + info["engine_version"] + ", " + provenance.versions("torch", "numpy"), "verify/testdata/gen.py")


if __name__ == "__main__":
    main()
