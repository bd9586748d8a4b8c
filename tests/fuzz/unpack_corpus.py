"""Makes the files that a fuzzer starts from: unpack_corpus.py CORPUS_DIR OUT_DIR

Text is kept as it is; of what is not, each line of seeds.base64 is one file (base64 -w 0 FILE).
"""

import base64
import shutil
import sys
from pathlib import Path

corpus, out = Path(sys.argv[1]), Path(sys.argv[2])
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
for path in corpus.glob("*"):
    if path.suffix != ".base64":
        shutil.copy(path, out)
        continue
    for number, line in enumerate(path.read_text().split()):
        (out / f"{number:02}").write_bytes(base64.b64decode(line, validate=True))
