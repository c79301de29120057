"""Write arch/config/testdata: rope as llama.cpp and transformers read it.

    $BOWLINE_PEERS/venv/bin/python testdata/gen/rope.py

rope.json holds, under "divisors", what the function of llama.cpp's converter gives for
rope type llama3 (rope_freqs.weight, as float32 bits), and under "configs" what transformers
makes of config.json's rope keys, old and new, together and apart.
"""
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.append(sys.path.pop(0))  # this folder comes last: some files here have the names of libraries
ROOT = Path(os.environ.get("BOWLINE_PEERS", Path.home() / ".cache/bowline-peers-ci")) / "llama.cpp"
sys.path[:0] = [str(ROOT), str(ROOT / "gguf-py")]  # its own gguf-py, which is newer than the published one
import numpy as np
from conversion.llama import LlamaModel
from transformers import LlamaConfig

import provenance

OUT = Path(__file__).resolve().parents[2] / "arch/config/testdata"

# head size, theta, factor, original length, low and high factor
SETS = [(d, t, f, n, 1.0, 4.0) for d in (16, 64, 128, 12) for t in (1e4, 5e5) for f in (8.0, 32.0) for n in (16, 64, 8192)]
SETS += [(64, 5e5, 8.0, 8192, 2.0, 8.0), (80, 1e6, 4.0, 4096, 1.0, 4.0), (256, 5e5, 8.0, 8192, 1.0, 4.0), (128, 5e5, 2.5, 8192, 1.0, 4.0)]

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
OTHER = dict(rope_type="linear", factor=2.0, rope_theta=7e5)
CONFIGS = {
    "nothing": {},
    "root theta": dict(rope_theta=5e5),
    "root theta, an integer": dict(rope_theta=500000),
    "scaling null": dict(rope_theta=5e5, rope_scaling=None),
    "version 4, llama3": dict(rope_theta=5e5, rope_scaling=LLAMA3),
    "version 4, linear, old type key": dict(rope_theta=5e5, rope_scaling=dict(type="linear", factor=2.0)),
    "both type keys": dict(rope_scaling=dict(LLAMA3, type="linear")),
    "version 5, default": dict(rope_parameters=dict(rope_type="default", rope_theta=7e5)),
    "version 5, llama3": dict(rope_parameters=dict(LLAMA3, rope_theta=5e5)),
    "version 5 without theta": dict(rope_parameters=LLAMA3),
    "version 5 without theta, root theta": dict(rope_parameters=LLAMA3, rope_theta=5e5),
    "rope_parameters beat root theta": dict(rope_theta=1e4, rope_parameters=OTHER),
    "rope_scaling and root theta beat rope_parameters": dict(rope_theta=5e5, rope_scaling=LLAMA3, rope_parameters=OTHER),
    "rope_scaling beats rope_parameters, no root theta": dict(rope_scaling=LLAMA3, rope_parameters=OTHER),
    "empty rope_scaling is none": dict(rope_theta=5e5, rope_scaling={}, rope_parameters=OTHER),
    "theta in rope_scaling beats root theta": dict(rope_theta=5e5, rope_scaling=dict(LLAMA3, rope_theta=9e5)),
    "original length at the root does not count": dict(rope_theta=5e5, rope_scaling=LLAMA3, original_max_position_embeddings=32),
}


def divisors(head, theta, factor, original, low, high):
    rope = dict(rope_type="llama3", rope_theta=theta, factor=factor, low_freq_factor=low, high_freq_factor=high,
                original_max_position_embeddings=original)
    model = SimpleNamespace(rope_parameters=rope, hparams=dict(head_dim=head), format_tensor_name=lambda _: "rope_freqs.weight")
    return list(LlamaModel.generate_extra_tensors(model))[0][1].numpy().view(np.uint32).tolist()


def main():
    OUT.mkdir(exist_ok=True)
    out = {
        "divisors": [dict(head_dim=d, theta=t, factor=f, original=n, low=lo, high=hi, bits=divisors(d, t, f, n, lo, hi)) for d, t, f, n, lo, hi in SETS],
        "configs": [dict(name=k, config=c, rope=LlamaConfig.from_dict(dict(json.loads(json.dumps(c)), max_position_embeddings=512)).rope_parameters)
                    for k, c in CONFIGS.items()],
    }
    lines = [f'"{k}": [\n' + ",\n".join("  " + json.dumps(x) for x in v) + "\n]" for k, v in out.items()]
    (OUT / "rope.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    provenance.write(OUT, "conversion/llama.py of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36), LlamaModel.generate_extra_tensors; "
                     f"LlamaConfig of {provenance.versions('transformers')}; {provenance.versions('torch', 'numpy')}", "testdata/gen/rope.py")


if __name__ == "__main__":
    main()
