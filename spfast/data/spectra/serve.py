"""The program of a worker process: it makes rows of features for its parent, by standard input and output."""

import os
import pickle
import sys

from spfast.data.spectra.chunk import RowMaker
from spfast.errors import BadInputError

__all__ = ["READY"]

#: Ends what a worker may print before it answers.
READY = b"spfast: ready\n"


def main() -> None:
    """Answer chunk after chunk. What comes in and what goes out is pickled.

    The first object in is a job, each further one the arguments of `RowMaker.make`; the answer is what it returns, or a
    BadInputError. What anything else prints here goes to standard error.
    """
    out, source = os.fdopen(os.dup(sys.stdout.fileno()), "wb"), sys.stdin.buffer
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    maker = RowMaker(pickle.load(source))
    out.write(READY)
    while True:
        try:
            chunk = pickle.load(source)
        except EOFError:
            return
        try:
            answer = maker.make(*chunk)
        except BadInputError as error:
            answer = BadInputError(str(error))
        pickle.dump(answer, out, protocol=pickle.HIGHEST_PROTOCOL)
        out.flush()


if __name__ == "__main__":
    main()
