#!/bin/sh
# Write the base files of llama-perplexity: gen.sh BIN MODEL OUT, with BIN the folder of a build of llama.cpp and MODEL the F32 GGUF of
# testdata/checkpoints/llama3 (convert --dtype f32), with add_bos_token set (--set) for bos.kld and no-bos.kld.
set -eu
exec "$1/llama-perplexity" -m "$2" -f "$(dirname "$0")/text.txt" --save-all-logits "$3" -c "${4:-32}" -b "${4:-32}" -ub "${4:-32}" -t 1 -fa off -ctk f32 -ctv f32 --chunks "${5:-3}"
