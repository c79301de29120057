"""Token ids by the tokenizers library, which runs a tokenizer.json as it stands.

    python tok_ids.py tokenizer.json < texts.json      a JSON list of strings

Prints {"ids": [[...], ...], "plain": [[...], ...]}: with and without special tokens.
transformers' AutoTokenizer is no oracle here: version 5 drops the Digits step of a
GPT2Tokenizer under model_type llama.
"""
import json
import sys

import tokenizers


def main():
    t = tokenizers.Tokenizer.from_file(sys.argv[1])
    texts = json.load(sys.stdin)
    print(json.dumps(dict(
        engine="tokenizers", engine_version=tokenizers.__version__,
        ids=[t.encode(x).ids for x in texts],
        plain=[t.encode(x, add_special_tokens=False).ids for x in texts])))


if __name__ == "__main__":
    main()
