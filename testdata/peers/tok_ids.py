"""Token ids by the tokenizers library, which runs a tokenizer.json as it stands.

    python tok_ids.py tokenizer.json < texts.json      a JSON list of strings
    python tok_ids.py --jobs                           {"file", "texts"} a line, see jobs.py

Prints {"ids": [[...], ...], "plain": [[...], ...]}: with and without special tokens.
transformers' AutoTokenizer is no oracle here: version 5 drops the Digits step of a
GPT2Tokenizer under model_type llama.
"""
import json
import sys

import tokenizers


def ids(path, texts):
    t = tokenizers.Tokenizer.from_file(path)
    return dict(
        engine="tokenizers", engine_version=tokenizers.__version__,
        ids=[t.encode(x).ids for x in texts],
        plain=[t.encode(x, add_special_tokens=False).ids for x in texts])


def main():
    if sys.argv[1] == "--jobs":
        import jobs

        return jobs.serve(lambda job: ids(job["file"], job["texts"]))
    print(json.dumps(ids(sys.argv[1], json.load(sys.stdin))))


if __name__ == "__main__":
    main()
