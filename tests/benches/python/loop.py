"""A loop around ONNX Runtime, without a server: what it gives at most.

    loop.py MODEL SESSIONS

For every line of standard input, a number of seconds, it runs the model in so many threads with a session of one thread
each, and writes how many runs that were per second.
"""

import sys
import threading
import time

import numpy as np
import onnxruntime

model, count = sys.argv[1], int(sys.argv[2])


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


sessions = [session() for _ in range(count)]
port = sessions[0].get_inputs()[0]
given = {port.name: np.full([size if isinstance(size, int) else 1 for size in port.shape], 0.5, np.float32)}


def work(session, end, runs):
    while time.perf_counter() < end:
        session.run(None, given)
        runs.append(None)


print("ready", flush=True)
for line in sys.stdin:
    runs = []
    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(own, started + float(line), runs)) for own in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(runs) / (time.perf_counter() - started), flush=True)
