# Stands between an ssh server and the agent that it starts, and flips one bit of what the agent sends to the next host:
#
#     python3 tampering-agent.py <offset> <program> <arguments...>
#
# Links to other hosts are led through a proxy in this process; the byte at that offset of the first link that comes so far is changed. The
# agent, its requests and its answers stay what they are, but for the addresses in `forward`.
import os
import re
import socket
import subprocess
import sys
import threading

OFFSET = int(sys.argv[1])
FORWARD = re.compile(rb'^(\d+ forward \d+ tcp) (\S+) (\d+)\n$')
flipped = threading.Lock()


def copy(source, target, tamper):
    at = 0
    try:
        while True:
            piece = source.recv(1 << 16)
            if not piece:
                break
            if tamper and at <= OFFSET < at + len(piece) and flipped.acquire(blocking=False):
                piece = bytearray(piece)
                piece[OFFSET - at] ^= 0x10
            at += len(piece)
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve(listener, address):
    near, _ = listener.accept()
    listener.close()
    try:
        far = socket.create_connection(address, 10)
        far.settimeout(None)
    except OSError:
        near.close()
        return
    back = threading.Thread(target=copy, args=(far, near, False), daemon=True)
    back.start()
    copy(near, far, True)
    back.join()
    near.close()
    far.close()


def led_through(address):
    listener = socket.create_server(('127.0.0.1', 0))
    threading.Thread(target=serve, args=(listener, address), daemon=True).start()
    return listener.getsockname()[1]


agent = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)


def requests():
    kept = b''
    while True:
        piece = os.read(0, 1 << 16)
        if not piece:
            break
        # What is no whole line may be anything; only a line can be a request.
        lines = re.findall(rb'[^\n]*\n|[^\n]+', kept + piece)
        kept = lines.pop() if lines and not lines[-1].endswith(b'\n') else b''
        for line in lines:
            said = FORWARD.match(line)
            if said is not None:
                line = b'%s 127.0.0.1 %d\n' % (said[1], led_through((said[2].decode(), int(said[3]))))
            agent.stdin.write(line)
        # A request is a line; the rest of it is a payload without one, or comes at once.
        if kept and not kept[:1].isdigit():
            agent.stdin.write(kept)
            kept = b''
        agent.stdin.flush()


def feed():
    try:
        requests()
        agent.stdin.close()
    except OSError:
        pass


threading.Thread(target=feed, daemon=True).start()
os._exit(agent.wait())
