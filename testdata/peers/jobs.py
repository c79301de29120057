"""Many jobs for one process: a JSON object a line on stdin, and for each a JSON object a line on stdout.

Importing torch and transformers takes seconds, a job a fraction of one. A job that fails
gives {"error": ...} and the next one runs. What libraries print goes to stderr.
"""
import contextlib
import json
import sys


def serve(do):
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                answer = do(json.loads(line))
            except (Exception, SystemExit) as e:
                answer = {"error": f"{type(e).__name__}: {e}"[:2000]}
        print(json.dumps(answer), flush=True)
