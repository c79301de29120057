"""What torch and Python's zipfile make of an archive. Jobs come on stdin, see jobs.py:

    {"torch": FILE}     {"tensors": {"tensors": [{name, dtype, shape, sha256}], "shared": [[name, ...], ...], "records": [...], "bad": null}}

torch_load.py says how it is loaded and what shared means; bad is the first record whose checksum is wrong, by zipfile.testzip.
"""
import zipfile

import jobs
import torch_load


def do(job):
    with zipfile.ZipFile(job["torch"]) as z:
        bad, records = z.testzip(), [i.filename.split("/", 1)[1] for i in z.infolist() if i.compress_type == zipfile.ZIP_STORED]
    return dict(tensors=dict(**torch_load.load(job["torch"]), records=records, bad=bad))


if __name__ == "__main__":
    jobs.serve(do)
