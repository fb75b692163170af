"""Signals come when the work that they would break is done: compilation, and the sharing of a launch among threads."""

import contextlib
import signal
import threading

_WITH_NAMES = tuple(map(int, signal.Signals))  # all but those between SIGRTMIN and SIGRTMAX, which nobody knows


@contextlib.contextmanager
def signals_held_back():
    """What Ctrl-C and the like raise is raised afterwards. Yields a list, which fills with what came meanwhile.

    Raised within, Numba would lose it, or stop half-way; and the locks of Python's threads would turn it into a
    RuntimeError, or lose it as well.
    """
    came, handlers = [], {}
    try:
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():  # to which signals come
                for number in _WITH_NAMES:
                    if callable(handler := signal.getsignal(number)):
                        handlers[number] = handler
                        stack.callback(signal.signal, number, handler)  # first of all, as others may still raise
                        signal.signal(number, lambda *args: came.append(args))
            yield came
    finally:
        with contextlib.ExitStack() as stack:  # of which each is called, whatever the others raise
            for number, frame in reversed(came):
                stack.callback(handlers[number], number, frame)
