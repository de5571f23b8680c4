# Carries bytes between its own standard streams and the socket at which an agent listens.
#
#   python3 -c '<this text, in one line>' path
#
# Sent as one word of a command line: no quotes of the single kind, no backslashes, no exclamation marks, and the lines are joined to one,
# so none may be indented or need another. It ends with the socket; the end of its input is handed on. One thread for each direction: what
# one side does not take must not hold up the other.
import os, sys, socket, threading;
s = socket.socket(socket.AF_UNIX);
s.connect_ex(sys.argv[1]) and sys.exit("the agent does not listen any more");
o = os.fdopen(1, "wb", 0);
w = lambda b: b and w(b[o.write(b):]);
t = threading.Thread(target=lambda: ([s.sendall(b) for b in iter(lambda: os.read(0, 262144), b"") if 1], s.shutdown(1)), daemon=True);
t.start();
[w(memoryview(b)) for b in iter(lambda: s.recv(262144), b"")];
os._exit(0)
