# The agent for hosts with Python 3.6 or later, as docs/reference/chain.md says. One process, one loop, nothing installed.
#
# The start is paid for on every host: only modules that are cheap to load, and the program comes in parts, each of which begins at a line
# `# ---- part <name>` and is compiled when it is needed first. Names of files are bytes throughout.
import sys

if sys.version_info < (3, 6):
    sys.stdout.write('%s unfit Python%%20%d.%d%%20is%%20too%%20old\n' % (sys.argv[1], sys.version_info[0], sys.version_info[1]))
    sys.exit(4)

import errno
import os
import select
import stat
import time
from _bisect import bisect_right

try:
    import _signal as signal
except ImportError:
    import signal
try:
    import _socket as net
except ImportError:
    import socket as net
try:
    from _sha256 import sha256 as small_sha256
except ImportError:
    try:
        from _sha2 import sha256 as small_sha256
    except ImportError:
        from hashlib import sha256 as small_sha256
try:
    from _operator import _compare_digest as same_bytes
except ImportError:
    from hmac import compare_digest as same_bytes

PLAIN = b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+,:@~^=-'
WORDS = [bytes((c,)) if c in PLAIN else b'%%%02X' % c for c in range(256)]
HOME = os.environb.get(b'HOME') or b'/'
PIECE = 1 << 20
HEAD = 44
RING_BYTES = 4 << 20
MOST_CHUNK = 64 << 20
DOOR_SECONDS = 10
LEASE_SECONDS = 60
# An agent on another host touches its lock when it is asked how it is, every 10 s, and has ended a minute after it was heard last.
FOREIGN_SECONDS = 75
# So often an agent looks whether somebody asks for its parts, and so long its controller may take to answer then.
BEAT_SECONDS = 1
ANSWER_SECONDS = 6
# So long who asks waits.
ASKING_SECONDS = 9
# Who had no time to look for so long may have lost its parts meanwhile.
SLEPT_SECONDS = 20
MOST_IN_DOOR = 16
BUSY_SECONDS = 0.5
MOST_NOISE = 1 << 16
FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
KIND = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
# File systems that keep no modes or times say one of these; the content is right all the same.
UNABLE = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


# Text by name of the part; none when this file is run as it is.
LATER = {part.split(None, 4)[3]: part for part in globals().get('PARTS', ())}


def need(part):
    """Compiles a part of this program, unless that was done before."""
    text = LATER.pop(part, None)
    if text is not None:
        exec(text, globals())


def encode(name):
    if not name:
        return b'%'
    if not name.translate(None, PLAIN):
        return name
    return b''.join([WORDS[c] for c in name])


def decode(word):
    if word == b'%':
        return b''
    if b'%' not in word:
        return word
    parts = word.split(b'%')
    return parts[0] + b''.join([bytes((int(part[:2], 16),)) + part[2:] for part in parts[1:]])


def shown(name):
    return name.decode('utf-8', 'replace')


class Fail(Exception):
    def __init__(self, code, message):
        Exception.__init__(self, code, message)
        self.code = code
        self.message = message

    def words(self):
        return b'%s %s' % (self.code.encode(), encode(self.message.encode('utf-8', 'replace')))


def fail_of(error, what):
    """What a system error means for a file that is to be."""
    if isinstance(error, Fail):
        return error
    number = error.errno
    name = errno.errorcode.get(number, str(number))
    if number in FULL:
        return Fail('E_TARGET_FULL', 'there is no room for %s (%s)' % (shown(what), name))
    if number in DENIED:
        return Fail('E_TARGET_DENIED', '%s may not be written (%s)' % (shown(what), name))
    if number in KIND:
        return Fail('E_TARGET_KIND', 'something of another kind stands at the place of %s (%s)' % (shown(what), name))
    return Fail('E_TRANSFER', '%s cannot be written: %s (%s)' % (shown(what), os.strerror(number or 0), name))


def sha256():
    """For content. What is fast takes a tenth of the start to load, and is loaded when content is there."""
    global sha256
    try:
        from _hashlib import openssl_sha256 as sha256
    except ImportError:
        from hashlib import sha256
    return sha256()


def micros(st):
    return st.st_mtime_ns // 1000


def absolute(path):
    if path == b'~' or path.startswith(b'~/'):
        path = HOME + path[1:]
    elif not path.startswith(b'/'):
        path = HOME + b'/' + path if path else HOME
    if b'\0' in path:
        raise Fail('E_ARGUMENT', 'a path may not hold NUL')
    return path.rstrip(b'/') or b'/'


def write_all(fd, view, offset):
    while view:
        done = os.pwrite(fd, view, offset)
        offset += done
        view = view[done:]


def quietly(action, *args, **named):
    try:
        action(*args, **named)
        return True
    except OSError:
        return False


def read_small(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b''
    try:
        return os.read(fd, 4096)
    except OSError:
        return b''
    finally:
        os.close(fd)


# In parts it goes on at the last one.
need(b'agent')


# ---- part place


def set_time(target, micro, **named):
    try:
        os.utime(target, ns=(micro * 1000, micro * 1000), **named)
    except OSError as error:
        if error.errno not in UNABLE:
            raise


def set_mode(target, mode):
    try:
        os.chmod(target, mode)
    except OSError as error:
        if error.errno not in UNABLE:
            raise


def remove_tree(path):
    folders = []
    todo = [path]
    while todo:
        folder = todo.pop()
        quietly(os.chmod, folder, 0o700)
        folders.append(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    os.unlink(entry.path)
    for folder in reversed(folders):
        os.rmdir(folder)


def exists(path):
    """True also when nobody can tell."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW))
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def owner():
    """Host, boot and space of this process: whose processes can be seen from here."""
    global OWNER
    if OWNER is None:
        boot = read_small(b'/proc/sys/kernel/random/boot_id').strip() or b'-'
        try:
            space = os.readlink(b'/proc/self/ns/pid')
        except OSError:
            space = b'-'
        OWNER = encode(os.fsencode(os.uname()[1])), boot, space
    return OWNER


def own_line():
    host, boot, space = owner()
    return b'%s %s %d %s %s answers\n' % (host, boot, os.getpid(), start_of(os.getpid()) or b'-', space)


def sees(words):
    """True when the process of a lock can be looked at from here."""
    return len(words) > 4 and words[2].isdigit() and (words[0], words[1], words[4]) == owner()


def runs(words):
    pid = int(words[2])
    start = start_of(pid)
    if start or os.path.exists(b'/proc/self/stat'):
        return start != b'' and words[3] in (b'-', start)
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def start_of(pid):
    """When a process started, in ticks of the kernel; b'' when there is none (or only what is left of it)."""
    words = read_small(b'/proc/%d/stat' % pid).rpartition(b')')[2].split()
    return words[19] if len(words) > 19 and words[0] not in (b'Z', b'X') else b''


def parse_manifest(payload):
    """Entries: kind, name, mode, time, size or target."""
    entries = []
    for line in payload.split(b'\n'):
        words = line.split(b' ')
        kind = words[0]
        if kind == b'f' and len(words) == 5:
            entries.append((kind, decode(words[4]), int(words[1], 8), int(words[2]), int(words[3])))
        elif kind == b'd' and len(words) == 4:
            entries.append((kind, decode(words[3]), int(words[1], 8), int(words[2]), 0))
        elif kind == b'l' and len(words) == 4:
            entries.append((kind, decode(words[2]), 0o777, int(words[1]), decode(words[3])))
        elif line:
            raise Fail('E_ARGUMENT', 'a line of the list of files cannot be read: ' + shown(line[:200]))
    return entries


def impossible(code, message):
    return b'x ' + Fail(code, message).words()


def digest_of(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        running = sha256()
        while True:
            piece = os.read(fd, PIECE)
            if not piece:
                return running.hexdigest().encode()
            running.update(piece)
            yield
    except OSError:
        return None
    finally:
        os.close(fd)


class Place:
    """The target directory: what is there, and where parts go."""

    def __init__(self, part, flags, directory, payload):
        if not part or part.translate(None, b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'):
            raise Fail('E_ARGUMENT', 'not an id of parts: ' + shown(part))
        self.folder = b'.cahier-' + part
        self.flags = flags
        self.directory = directory
        self.prefix = directory + b'/' if directory != b'/' else directory
        self.entries = parse_manifest(payload)
        self.parts = self.prefix + self.folder
        self.locked = False
        # By index: where the content lies among the parts, when that is not the plain place. Top directories that are renamed as one.
        self.paths = {}
        self.trees = {}
        self.tree = self.parts + b'/t'
        self.final = set()

    def open(self):
        """Answers with the lines about the entries."""
        self.make_target()
        self.state = state = []
        for _ in self.survey(state):
            yield
        if self.needed:
            try:
                for _ in self.acquire():
                    yield
                for _ in self.take_parts():
                    yield
                self.check_room()
                if b's' in self.flags:
                    for _ in self.seed():
                        yield
            except OSError as error:
                self.abandon(True)
                raise fail_of(error, self.parts)
            except BaseException:
                self.abandon(True)
                raise
        else:
            for _ in self.tidy():
                yield
        return b'%s %s' % (encode(self.directory), encode(self.parts) if self.locked else b'-'), b''.join([line + b'\n' for line in state])

    def tidy(self):
        """Who ended when all was placed has left its folder: nobody would ever come back to it."""
        if os.path.lexists(self.parts):
            try:
                for _ in self.acquire(False):
                    yield
            except (OSError, Fail):
                # Somebody else's.
                self.abandon(True)
                return
            self.abandon(False)

    def make_target(self):
        said = shown(self.directory)
        try:
            if stat.S_ISDIR(os.stat(self.directory).st_mode):
                return
        except FileNotFoundError:
            # Of a link that leads nowhere: it is not for us to make what it points to.
            if not os.path.islink(self.directory):
                if b'c' not in self.flags:
                    raise Fail('E_TARGET_MISSING', 'there is no directory ' + said)
                try:
                    os.makedirs(self.directory, 0o777 & ~UMASK)
                    return
                except OSError as error:
                    raise fail_of(error, self.directory)
        except OSError as error:
            raise fail_of(error, self.directory)
        raise Fail('E_TARGET_KIND', said + ' is no directory, or a file is on the way to it')

    def survey(self, state):
        prefix = self.prefix
        names = set()
        # Directories of the list: what was said of each. Those that are not there need not be looked into.
        folders = {b'': b's'}
        self.linked = set()
        needed = False
        for index, (kind, name, _mode, micro, size) in enumerate(self.entries):
            above = name.rpartition(b'/')[0]
            inside = folders.get(above)
            around = b'/' + name + b'/'
            if b'//' in around or b'/../' in around or b'/./' in around or b'\0' in name:
                said = impossible('E_TARGET_KIND', 'its name leads out of the target directory')
            elif name in names:
                said = impossible('E_TARGET_KIND', 'another file of the list has its name')
            elif name == self.folder:
                said = impossible('E_TARGET_KIND', 'its name is that of the folder in which files arrive')
            elif inside is None:
                said = impossible('E_TARGET_KIND', 'its directory is not in the list')
            elif inside == b's':
                try:
                    said = self.compare(index, kind, prefix + name, micro, size, os.lstat(prefix + name))
                except FileNotFoundError:
                    said = b'n'
                except OSError as error:
                    said = b'x ' + fail_of(error, name).words()
            else:
                said = inside
            if said == b'h':
                digest = yield from digest_of(prefix + name)
                said = b'n' if digest is None else b'h ' + digest
            needed = needed or said[:1] in b'nh'
            names.add(name)
            if kind == b'd':
                folders[name] = said
            state.append(said)
            if index & 1023 == 1023:
                yield
        self.needed = needed

    def compare(self, index, kind, path, micro, size, there):
        """What is said of an entry at whose place something stands; `h` when its digest has to tell."""
        mode = there.st_mode
        if kind == b'd':
            if stat.S_ISDIR(mode):
                return b's'
            if not stat.S_ISLNK(mode):
                return impossible('E_TARGET_KIND', 'a file stands in the place of a directory')
            if not os.path.isdir(path):
                return impossible('E_TARGET_KIND', 'a link that leads to no directory stands in the place of a directory')
            self.linked.add(index)
            return b's'
        if stat.S_ISDIR(mode):
            return impossible('E_TARGET_KIND', 'a directory stands in its place')
        if kind == b'l':
            return b's' if stat.S_ISLNK(mode) and os.readlink(path) == size else b'n'
        if not stat.S_ISREG(mode) or there.st_size != size:
            return b'n'
        if b'k' in self.flags:
            return b'h'
        return b's' if abs(micros(there) - micro) <= 1 else b'n'

    def acquire(self, asks=True):
        """The folder of parts, for us alone. A living holder that answers is asked whether anybody is at its other end."""
        lock = self.parts + b'/lock'
        for _ in range(5):
            try:
                os.mkdir(self.parts, 0o700)
            except FileExistsError:
                there = os.lstat(self.parts)
                if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or there.st_mode & 0o077:
                    raise Fail('E_TARGET_DENIED', shown(self.parts) + ' is there already, and is no folder of ours')
            try:
                fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                known = read_small(lock)
                if self.is_alive(known, lock):
                    for _ in self.outwait(known, lock, asks):
                        yield
                    continue
                old = b'%s.%d' % (lock, os.getpid())
                if quietly(os.rename, lock, old):
                    # Somebody else may have taken it up meanwhile.
                    if read_small(old) != known:
                        quietly(os.link, old, lock)
                        quietly(os.unlink, old)
                        raise Fail('E_TARGET_BUSY', 'another transfer of the same files into %s has just begun' % shown(self.directory))
                    quietly(os.unlink, old)
                continue
            except FileNotFoundError:
                # Its owner has just removed the folder.
                continue
            except OSError:
                quietly(os.rmdir, self.parts)
                raise
            self.locked = True
            try:
                os.write(fd, own_line())
            finally:
                os.close(fd)
            return
        raise Fail('E_TARGET_BUSY', 'the parts in %s change hands' % shown(self.directory))

    def outwait(self, known, lock, asks):
        """Until a living holder has let go, which it does when nobody is at its other end."""
        words = known.split()
        if not asks or words[5:6] != [b'answers'] or not quietly(self.ask):
            raise self.busy(words)
        until = time.monotonic() + ASKING_SECONDS
        unasked = 0
        while read_small(lock) == known and (not sees(words) or runs(words)):
            # Who removes the folder removes that first, perhaps.
            unasked = 0 if exists(self.parts + b'/asked') else unasked + 1
            if unasked > 3 or time.monotonic() > until:
                raise self.busy(words)
            time.sleep(0.1)
            yield

    def busy(self, words):
        who = ' (process %s on %s)' % (shown(words[2]), shown(decode(words[0]))) if len(words) > 3 else ''
        return Fail('E_TARGET_BUSY', 'another transfer of the same files into %s is under way%s' % (shown(self.directory), who))

    def ask(self):
        try:
            os.close(os.open(self.parts + b'/asked', os.O_WRONLY | os.O_CREAT, 0o600))
        except FileNotFoundError:
            # The folder has just been removed.
            pass

    def is_asked(self):
        return os.path.lexists(self.parts + b'/asked')

    def reply(self):
        quietly(os.unlink, self.parts + b'/asked')

    def is_mine(self):
        return read_small(self.parts + b'/lock') == own_line()

    def touch(self):
        if self.locked:
            quietly(os.utime, self.parts + b'/lock')

    def is_fresh(self, lock):
        """By the clock of whoever keeps the files."""
        mark = b'%s.%d' % (lock, os.getpid())
        try:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            os.utime(mark)
            now = os.stat(mark).st_mtime
            return now - os.stat(lock).st_mtime < FOREIGN_SECONDS
        except FileNotFoundError:
            # It was let go a moment ago.
            return False
        except OSError:
            return True
        finally:
            quietly(os.unlink, mark)

    def is_alive(self, line, lock):
        words = line.split()
        return runs(words) if sees(words) else self.is_fresh(lock)

    def take_parts(self):
        """What an earlier transfer has left becomes parts in their plain places, or is removed."""
        entries, state = self.entries, self.state
        seeded = os.path.exists(self.parts + b'/seeded')
        # Parts that began as copies of what was there: only who sends differences can go on with them.
        keep = b'r' in self.flags and (b's' in self.flags or not seeded)
        if keep and os.path.isdir(self.tree):
            quietly(os.chmod, self.tree, 0o700)
            for index, entry in enumerate(entries):
                if entry[0] == b'f' and state[index] == b'n':
                    quietly(os.rename, self.tree + b'/' + entry[1], self.part(index))
            yield
        with os.scandir(self.parts) as names:
            names = list(names)
        for entry in names:
            name = entry.name
            if name == b'lock' or (keep and name == b'seeded'):
                continue
            index = int(name) if name.isdigit() and name == b'%d' % int(name) else -1
            if keep and 0 <= index < len(entries) and entries[index][0] == b'f' and state[index] == b'n':
                there = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(there.st_mode) and 0 < there.st_size <= entries[index][4]:
                    # It may have had its final mode already.
                    if there.st_mode & 0o7777 != 0o600:
                        os.chmod(entry.path, 0o600)
                    state[index] = b'p %d' % there.st_size
                    continue
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                os.unlink(entry.path)
            yield

    def seed(self):
        marked = False
        for index, entry in enumerate(self.entries):
            if entry[0] != b'f' or self.state[index] != b'n':
                continue
            try:
                source = os.open(self.prefix + entry[1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            part = None
            try:
                if not stat.S_ISREG(os.fstat(source).st_mode):
                    continue
                if not marked:
                    os.close(os.open(self.parts + b'/seeded', os.O_WRONLY | os.O_CREAT, 0o600))
                    marked = True
                part = os.open(self.part(index), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                left = entry[4]
                while left > 0:
                    piece = os.read(source, min(left, PIECE))
                    if not piece:
                        break
                    write_all(part, memoryview(piece), entry[4] - left)
                    left -= len(piece)
                    yield
            except OSError:
                # It comes whole, then.
                quietly(os.unlink, self.part(index))
            finally:
                os.close(source)
                if part is not None:
                    os.close(part)

    def check_room(self):
        try:
            there = os.statvfs(self.parts)
        except OSError:
            return
        wanted = count = 0
        for said, entry in zip(self.state, self.entries):
            if said == b'n':
                count += 1
                if entry[0] == b'f':
                    wanted += entry[4]
            elif said[:1] == b'p':
                wanted += entry[4] - int(said[2:])
        room = (there.f_bavail if os.geteuid() else there.f_bfree) * there.f_frsize
        if wanted > room:
            raise Fail('E_TARGET_FULL', '%d bytes are to come, and there is room for %d in %s' % (wanted, room, shown(self.directory)))
        if there.f_files > 0 and count > there.f_ffree:
            raise Fail('E_TARGET_FULL', '%d files are to come, and there is room for %d in %s' % (count, there.f_ffree, shown(self.directory)))

    def part(self, index):
        return b'%s/%d' % (self.parts, index)

    def path(self, index):
        """Where the content of an entry is now."""
        if index in self.final:
            return self.prefix + self.entries[index][1]
        return self.paths.get(index) or self.part(index)

    def lay_out(self, indexes):
        """New directories whose files come in the stream become trees, to be renamed as one."""
        entries, state = self.entries, self.state
        for index, entry in enumerate(entries):
            if entry[0] == b'd' and b'/' not in entry[1] and state[index] == b'n':
                self.trees[entry[1]] = index
        if not self.trees:
            return
        if not os.path.isdir(self.tree):
            os.mkdir(self.tree, 0o700)
            for entry in entries:
                if entry[0] == b'd' and entry[1].partition(b'/')[0] in self.trees:
                    os.mkdir(self.tree + b'/' + entry[1], 0o700)
        prefix = self.tree + b'/'
        for index in indexes:
            name = entries[index][1]
            top, slash, _ = name.partition(b'/')
            if slash and top in self.trees and index not in self.paths:
                path = prefix + name
                if state[index][:1] == b'p':
                    quietly(os.rename, self.part(index), path)
                self.paths[index] = path

    def dress(self, index, path):
        set_time(path, self.entries[index][3])
        set_mode(path, self.entries[index][2])

    def taken(self):
        return Fail('E_TARGET_BUSY', 'another transfer of the same files into %s has taken over its parts' % shown(self.directory))

    def abandon(self, keep):
        if not self.locked:
            return
        self.locked = False
        # One that could not be written is as good as ours.
        if read_small(self.parts + b'/lock') not in (b'', own_line()):
            return
        if not keep:
            quietly(remove_tree, self.parts)
            return
        quietly(os.unlink, self.parts + b'/lock')
        self.reply()
        # Only when nothing is in it.
        quietly(os.rmdir, self.tree)
        quietly(os.rmdir, self.parts)


# ---- part commit


def changed(name):
    return Fail('E_TARGET_KIND', '%s: something else took its place, or that of its directory, while it was copied' % shown(name))


def copy_file(path, other):
    source = os.open(path, os.O_RDONLY)
    try:
        target = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            offset = 0
            while True:
                piece = os.read(source, PIECE)
                if not piece:
                    return
                write_all(target, memoryview(piece), offset)
                offset += len(piece)
        finally:
            os.close(target)
    finally:
        os.close(source)


class Commit:
    """How parts become files."""

    def __init__(self, place):
        self.place = place
        self.entries = place.entries
        self.state = place.state
        self.prefix = place.prefix
        self.parts = place.parts
        self.paths = place.paths
        self.trees = place.trees
        self.tree = place.tree
        self.linked = place.linked
        self.final = place.final

    def run(self, arrived, differing, stream):
        """The entries that came become files. Answers with the count, how they were verified, and the failures."""
        entries, state = self.entries, self.state
        if self.place.locked and not self.place.is_mine():
            raise self.place.taken()
        failures = {}
        came = {index for index, _ in arrived}
        verified = b'sha256'
        good = set()
        streamed = stream.whole_entries() if stream is not None else set()
        ready = set()
        for index, digest in arrived:
            try:
                if index in streamed and digest is None:
                    ready.add(index)
                else:
                    for _ in self.check(index, digest, stream is not None and index in stream.places and index not in streamed):
                        yield
                    if digest is None:
                        verified = b'size'
                good.add(index)
            except OSError as error:
                failures[index] = fail_of(error, entries[index][1])
            except Fail as error:
                failures[index] = error
        yield
        self.dated = []
        whole = self.place_trees(good, ready)
        opened = self.open_folders()
        self.trusted = set()
        self.linked_names = {entries[index][1] for index in self.linked}
        for index, entry in enumerate(entries):
            kind, name = entry[0], entry[1]
            if whole and name.partition(b'/')[0] in whole:
                if kind == b'f':
                    self.final.add(index)
                continue
            if index & 1023 == 1023:
                yield
            try:
                if state[index] == b's' or (state[index][:1] == b'h' and index not in came and index not in differing):
                    if kind == b'd':
                        if index not in self.linked:
                            self.dated.append(index)
                    else:
                        self.agree(index, kind, self.prefix + name)
                elif kind == b'd':
                    if state[index] == b'n':
                        self.place_directory(index)
                elif kind == b'l':
                    if state[index] == b'n':
                        self.place_link(index, self.prefix + name)
                elif index in good:
                    self.place_file(index, index in ready)
            except OSError as error:
                failures[index] = fail_of(error, name)
            except Fail as error:
                failures[index] = error
        for index in sorted(self.dated, reverse=True):
            path = self.prefix + entries[index][1]
            try:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise changed(entries[index][1])
                set_time(path, entries[index][3])
                set_mode(path, entries[index][2])
            except (OSError, Fail) as error:
                # A directory that was there may be somebody else's.
                if state[index] == b'n':
                    failures[index] = fail_of(error, entries[index][1])
        yield
        if self.place.locked:
            self.place.abandon(b'r' in self.place.flags and self.is_of_use())
        lines = [b'%d %s\n' % (index, failures[index].words()) for index in sorted(failures)]
        return b'%d %s' % (len(self.final), verified), b''.join(lines)

    def is_of_use(self):
        """True when something lies among the parts that another transfer could go on with."""
        try:
            with os.scandir(self.parts) as names:
                if any(name.name.isdigit() and name.stat(follow_symlinks=False).st_size for name in names):
                    return True
        except OSError:
            return False
        return any(index not in self.final and os.path.exists(path) for index, path in self.paths.items())

    def open_folders(self):
        """Directories that were there and do not let us in: opened for a moment. They get their mode at the end."""
        for index, entry in enumerate(self.entries):
            if entry[0] == b'd' and self.state[index] == b's' and index not in self.linked:
                path = self.prefix + entry[1]
                try:
                    mode = os.lstat(path).st_mode
                except OSError:
                    continue
                if stat.S_ISDIR(mode) and mode & 0o300 != 0o300:
                    quietly(os.chmod, path, stat.S_IMODE(mode) | 0o700)

    def agree(self, index, kind, path):
        """What was there has the content; mode and time may differ."""
        there = os.lstat(path)
        _, name, mode, micro, size = self.entries[index]
        late = abs(micros(there) - micro) > 1
        if kind == b'l':
            if late:
                quietly(os.utime, path, ns=(micro * 1000, micro * 1000), follow_symlinks=False)
            return
        if not stat.S_ISREG(there.st_mode) or there.st_size != size:
            raise changed(name)
        # Of somebody else's file neither can be set, and its content is what was asked for.
        if stat.S_IMODE(there.st_mode) != mode:
            quietly(os.chmod, path, mode)
        if late:
            quietly(os.utime, path, ns=(micro * 1000, micro * 1000))

    def check_folder(self, name):
        """The directory of an entry is still the one that was looked at: a link that came since is not followed."""
        above = name.rpartition(b'/')[0]
        while above and above not in self.trusted:
            path = self.prefix + above
            mode = os.lstat(path).st_mode
            if not stat.S_ISDIR(mode) and not (above in self.linked_names and os.path.isdir(path)):
                raise changed(name)
            self.trusted.add(above)
            above = above.rpartition(b'/')[0]

    def check(self, index, digest, of_stream):
        """A part that a mover brought: size, and digest where there is one."""
        entry = self.entries[index]
        name = shown(entry[1])
        if of_stream:
            raise Fail('E_COPY_LOST', 'not all of %s has come' % name)
        if self.state[index] == b's':
            raise Fail('E_ARGUMENT', '%s was not needed' % name)
        try:
            fd = os.open(self.place.path(index), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise Fail('E_COPY_LOST', 'nothing of %s has come' % name)
        try:
            there = os.fstat(fd)
            if not stat.S_ISREG(there.st_mode) or there.st_size != entry[4]:
                quietly(os.unlink, self.place.path(index))
                raise Fail('E_COPY_CORRUPT', '%d bytes of %s came instead of %d' % (there.st_size, name, entry[4]))
            if digest is not None:
                running = sha256()
                while True:
                    piece = os.read(fd, PIECE)
                    if not piece:
                        break
                    running.update(piece)
                    yield
                if running.hexdigest().encode() != digest:
                    quietly(os.unlink, self.place.path(index))
                    raise Fail('E_COPY_CORRUPT', 'what came of %s is not what was sent' % name)
        finally:
            os.close(fd)

    def place_trees(self, good, ready):
        """Renames the new directories of which everything is there. Answers with their names."""
        if not self.trees:
            return ()
        entries, state = self.entries, self.state
        content = {name: [] for name in self.trees}
        broken = set()
        for index, entry in enumerate(entries):
            top, slash, _ = entry[1].partition(b'/')
            if slash and top in content:
                content[top].append(index)
                if entry[0] == b'f' and (index not in good or index not in self.paths):
                    broken.add(top)
        whole = set()
        for top, index in self.trees.items():
            if top in broken:
                continue
            try:
                for inner in content[top]:
                    if entries[inner][0] == b'l':
                        self.make_link(inner, self.tree + b'/' + entries[inner][1])
                    elif entries[inner][0] == b'f' and inner not in ready:
                        self.place.dress(inner, self.paths[inner])
                for inner in reversed(content[top]):
                    if entries[inner][0] == b'd':
                        path = self.tree + b'/' + entries[inner][1]
                        set_mode(path, entries[inner][2])
                        set_time(path, entries[inner][3])
                os.rename(self.tree + b'/' + top, self.prefix + top)
                self.dated.append(index)
                whole.add(top)
            except OSError:
                # Somebody else has made it meanwhile: then file by file, with a reason for each that cannot be placed.
                for inner in content[top]:
                    if entries[inner][0] == b'd':
                        quietly(os.chmod, self.tree + b'/' + entries[inner][1], 0o700)
        return whole

    def place_directory(self, index):
        path = self.prefix + self.entries[index][1]
        self.check_folder(self.entries[index][1])
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
        self.dated.append(index)

    def make_link(self, index, path):
        quietly(os.unlink, path)
        os.symlink(self.entries[index][4], path)
        micro = self.entries[index][3]
        # Not every file system has times of links.
        quietly(os.utime, path, ns=(micro * 1000, micro * 1000), follow_symlinks=False)

    def place_link(self, index, path):
        self.check_folder(self.entries[index][1])
        self.make_link(index, self.place.part(index))
        self.rename(index, self.place.part(index), path)

    def place_file(self, index, ready):
        path = self.place.path(index)
        self.check_folder(self.entries[index][1])
        if not ready:
            self.place.dress(index, path)
        self.rename(index, path, self.prefix + self.entries[index][1])
        self.final.add(index)

    def rename(self, index, path, final):
        try:
            os.rename(path, final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.carry_over(index, path, final)

    def carry_over(self, index, path, final):
        """Another file system lies below the target directory: the file goes there under a name of ours first."""
        aside = b'%s/.cahier-%d-%d' % (final.rpartition(b'/')[0], os.getpid(), index)
        quietly(os.unlink, aside)
        try:
            if self.entries[index][0] == b'l':
                self.make_link(index, aside)
            else:
                copy_file(path, aside)
                self.place.dress(index, aside)
            os.rename(aside, final)
        except BaseException:
            quietly(os.unlink, aside)
            raise
        os.unlink(path)


# ---- part stream


class Key:
    """HMAC-SHA256 with one key: two copies of running hashes instead of a module."""

    def __init__(self, key):
        key = key.ljust(64, b'\0')
        self.inner = small_sha256(bytes([c ^ 0x36 for c in key]))
        self.outer = small_sha256(bytes([c ^ 0x5C for c in key]))

    def sign(self, text):
        inner = self.inner.copy()
        inner.update(text)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Stream:
    """The content of the needed entries, one after the other: checked as it comes, written, kept for the next host."""

    def __init__(self, agent, place, chunk, total, order):
        if agent.key is None:
            raise Fail('E_ARGUMENT', 'there is no key')
        if not 0 < chunk <= MOST_CHUNK:
            raise Fail('E_ARGUMENT', 'not a size of chunks: %d' % chunk)
        self.agent = agent
        self.place = place
        self.chunk = chunk
        self.order = order
        self.sizes = []
        self.starts = []
        at = 0
        for index in order:
            if not 0 <= index < len(place.entries) or place.entries[index][0] != b'f' or place.state[index][:1] not in b'nph':
                raise Fail('E_ARGUMENT', 'entry %d is not needed' % index)
            self.starts.append(at)
            size = place.entries[index][4]
            self.sizes.append(size)
            at += size
        if at != total:
            raise Fail('E_ARGUMENT', 'the stream has %d bytes, not %d' % (at, total))
        self.total = total
        self.places = set(order)
        self.have = 0
        # False as long as what is there is only what an earlier transfer left: it is neither counted as right nor passed on.
        self.verified = True
        # Of what comes before it there are no tags.
        self.floor = 0
        self.dead = False
        self.whole = False
        self.running = None
        self.tags = bytearray()
        # Writing: which entry, how much of it is there, its descriptor.
        self.at = 0
        self.inside = 0
        self.fd = None
        # Reading: one descriptor is kept.
        self.read_at = -1
        self.read_fd = None
        # The last chunks, each in the slot of its number, headers included.
        count = max(3, min(64, RING_BYTES // chunk))
        self.slots = [None] * count
        self.holds = [-1] * count
        self.clear()

    def clear(self):
        """What came of the chunk that is coming is forgotten."""
        self.filled = 0
        self.trying = None

    def begin(self):
        """How much is there from an earlier transfer; hashes it."""
        place = self.place
        place.lay_out(self.order)
        there = 0
        for at, index in enumerate(self.order):
            if not self.sizes[at]:
                continue
            try:
                size = os.stat(place.path(index)).st_size if place.state[index][:1] == b'p' else -1
            except OSError:
                size = -1
            there += max(0, min(size, self.sizes[at]))
            if size != self.sizes[at]:
                break
        # Never all: the tag of the last chunk is what tells that everything before is right.
        there = min(there, self.total - 1) // self.chunk * self.chunk if self.total else 0
        while self.have < there:
            if not self.hash_chunk():
                break
            yield
        self.verified = self.have == 0
        self.floor = self.have
        self.close()
        self.seek(self.have)
        if self.total == 0:
            self.store(memoryview(b''))

    def hash_chunk(self):
        running = self.so_far().copy()
        left = self.chunk
        at = self.have
        while left > 0:
            piece = self.read(at, min(left, PIECE))
            if not piece:
                return False
            running.update(piece)
            at += len(piece)
            left -= len(piece)
        self.running = running
        self.have += self.chunk
        return True

    def so_far(self):
        """The running digest of what is there."""
        if self.running is None:
            self.running = sha256()
        return self.running

    def signed(self, offset, length, digest):
        return b'frame' + offset.to_bytes(8, 'big') + length.to_bytes(4, 'big') + digest

    def seek(self, offset):
        """The place to write at; whole entries before it get their mode and time."""
        self.at = self.inside = 0
        while self.at < len(self.order) and self.starts[self.at] + self.sizes[self.at] <= offset:
            index = self.order[self.at]
            try:
                path = self.place.path(index)
                if self.sizes[self.at] == 0:
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
                self.place.dress(index, path)
            except OSError as error:
                raise fail_of(error, self.place.entries[index][1])
            self.at += 1
        if self.at < len(self.order):
            self.inside = max(0, offset - self.starts[self.at])

    def restart(self):
        """What an earlier transfer left was something else."""
        self.close()
        self.have = self.floor = 0
        self.verified = True
        self.running = None
        self.tags = bytearray()
        self.at = self.inside = 0
        self.clear()

    def expected(self):
        return min(self.chunk, self.total - self.have)

    def room(self):
        """Where the next bytes of the chunk that is coming go."""
        slot = self.have // self.chunk % len(self.slots)
        if self.slots[slot] is None:
            self.slots[slot] = memoryview(bytearray(HEAD + self.chunk))
        if self.filled == 0:
            self.holds[slot] = -1
        return self.slots[slot][self.filled:HEAD + self.expected()]

    def took(self, count):
        """Counts bytes that came into the room. Answers False when they are not what may come here."""
        slot = self.have // self.chunk % len(self.slots)
        frame = self.slots[slot]
        length = self.expected()
        before = self.filled
        self.filled = after = before + count
        if after < HEAD:
            return True
        if before < HEAD:
            if int.from_bytes(frame[:4], 'big') != length or int.from_bytes(frame[4:12], 'big') != self.have:
                return False
            self.trying = self.so_far().copy()
            before = HEAD
        self.trying.update(frame[before:after])
        if after < HEAD + length:
            return True
        tag = self.agent.key.sign(self.signed(self.have, length, self.trying.digest()))
        if not same_bytes(tag, bytes(frame[12:HEAD])):
            return False
        self.store(frame[HEAD:after])
        self.running = self.trying
        self.tags += tag
        self.holds[slot] = self.have // self.chunk
        self.have += length
        self.verified = True
        self.clear()
        return True

    def store(self, view):
        """Writes what comes next; entries that are complete get their mode and time at once."""
        place, order, sizes = self.place, self.order, self.sizes
        entries = place.entries
        at = self.at
        try:
            while at < len(order):
                left = sizes[at] - self.inside
                index = order[at]
                if left > len(view):
                    if view:
                        if self.fd is None:
                            self.fd = self.open_part(index)
                        write_all(self.fd, view, self.inside)
                        self.inside += len(view)
                    break
                _, _, mode, micro, _ = entries[index]
                fd = self.fd
                fresh = fd is None and self.inside == 0 and mode & 0o7400 == 0o400
                if fd is None:
                    self.fd = fd = self.open_fresh(index, mode) if fresh else self.open_part(index)
                if left:
                    write_all(fd, view[:left], self.inside)
                    view = view[left:]
                if not fresh:
                    set_mode(fd, mode)
                set_time(fd, micro)
                self.fd = None
                os.close(fd)
                self.inside = 0
                at += 1
                self.at = at
        except OSError as error:
            raise fail_of(error, entries[order[at]][1])

    def open_fresh(self, index, mode):
        path = self.place.path(index)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(path, flags, mode)
        except FileExistsError:
            os.unlink(path)
            return os.open(path, flags, mode)

    def open_part(self, index):
        path = self.place.path(index)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (0 if self.inside else os.O_TRUNC)
        try:
            fd = os.open(path, flags, 0o600)
        except PermissionError:
            os.chmod(path, 0o600)
            fd = os.open(path, flags, 0o600)
        if self.inside:
            os.ftruncate(fd, self.inside)
        return fd

    def end(self):
        self.whole = True
        self.close()
        self.agent.tell_have()
        self.agent.event(b'whole ' + self.so_far().hexdigest().encode())

    def whole_entries(self):
        return set(self.order[:self.at]) if self.verified else set()

    def reading(self, offset):
        """The descriptor and the place in it of a byte that is there, and how many follow in the same file."""
        at = bisect_right(self.starts, offset) - 1
        if at != self.read_at:
            if self.read_fd is not None:
                os.close(self.read_fd)
                self.read_fd = None
                self.read_at = -1
            self.read_fd = os.open(self.place.path(self.order[at]), os.O_RDONLY)
            self.read_at = at
        inside = offset - self.starts[at]
        return self.read_fd, inside, self.sizes[at] - inside

    def read(self, offset, length):
        fd, inside, left = self.reading(offset)
        return os.pread(fd, min(length, left), inside)

    def header(self, number, length):
        offset = number * self.chunk
        tag = 32 * (number - self.floor // self.chunk)
        return length.to_bytes(4, 'big') + offset.to_bytes(8, 'big') + bytes(self.tags[tag:tag + 32])

    def close(self):
        for fd in (self.fd, self.read_fd):
            if fd is not None:
                quietly(os.close, fd)
        self.fd = self.read_fd = None
        self.read_at = -1


def remove_socket(folder):
    quietly(os.unlink, folder + '/link')
    quietly(os.unlink, folder + '/lock')
    quietly(os.rmdir, folder)


class Listener:
    def __init__(self, agent, sock, path):
        self.agent = agent
        self.sock = sock
        self.path = path
        sock.setblocking(False)
        agent.watch(sock.fileno(), select.POLLIN, self)

    def ready(self, _events):
        for _ in range(MOST_IN_DOOR):
            try:
                fd, _address = self.sock._accept()
            except OSError:
                return
            sock = net.socket(self.sock.family, self.sock.type, self.sock.proto, fd)
            sock.setblocking(False)
            Door(self.agent, sock)

    def close(self):
        self.agent.unwatch(self.sock.fileno())
        self.sock.close()
        if self.path is not None:
            remove_socket(self.path.rpartition('/')[0])


class Door:
    """Somebody who has not shown yet that he knows the key."""

    def __init__(self, agent, sock):
        self.agent = agent
        self.sock = sock
        self.nonce = os.urandom(16)
        self.said = b''
        self.until = time.monotonic() + DOOR_SECONDS
        while len(agent.doors) >= MOST_IN_DOOR:
            agent.doors[0].close()
        agent.doors.append(self)
        agent.watch(sock.fileno(), select.POLLIN, self)
        try:
            sock.send(b'CC1\n' + self.nonce)
        except OSError:
            self.close()

    def ready(self, _events):
        try:
            piece = self.sock.recv(52 - len(self.said))
        except BlockingIOError:
            return
        except OSError:
            piece = b''
        self.said += piece
        if not piece:
            self.close()
        elif len(self.said) == 52:
            self.judge()

    def judge(self):
        agent, said = self.agent, self.said
        proof = self.nonce + said[:20]
        stream = agent.stream
        epoch = int.from_bytes(said[16:20], 'big')
        right = agent.key is not None and same_bytes(agent.key.sign(b'client' + proof), said[20:])
        if not right or stream is None or stream.dead or epoch < agent.epoch:
            self.close()
            return
        try:
            self.sock.send(agent.key.sign(b'server' + proof) + stream.have.to_bytes(8, 'big'))
        except OSError:
            self.close()
            return
        agent.doors.remove(self)
        agent.unwatch(self.sock.fileno())
        agent.epoch = epoch
        agent.set_source(Source(agent, self.sock, epoch))

    def close(self):
        self.agent.doors.remove(self)
        self.agent.unwatch(self.sock.fileno())
        self.sock.close()


class Source:
    """The link that content comes over."""

    def __init__(self, agent, sock, epoch):
        self.agent = agent
        self.sock = sock
        self.epoch = epoch
        agent.watch(sock.fileno(), select.POLLIN, self)

    def ready(self, _events):
        agent, stream = self.agent, self.agent.stream
        # Not for ever: others have their turn.
        for _ in range(4):
            try:
                count = self.sock.recv_into(stream.room())
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count == 0:
                agent.set_source(None)
                return
            before = stream.have
            try:
                right = stream.took(count)
            except Fail as error:
                agent.fail(error)
                return
            if not right:
                agent.bad(self.epoch)
                return
            if stream.have == before:
                continue
            if stream.have == stream.total:
                agent.set_source(None)
                stream.end()
            agent.news()
            # While more is on its way: in the end all hosts commit at once.
            need(b'commit')
            if stream.whole:
                return

    def close(self):
        self.agent.unwatch(self.sock.fileno())
        self.sock.close()
        self.agent.stream.clear()


# ---- part socket


def private_socket():
    """Listens in a new folder that only its user can enter, in the first place that has room for it."""
    refused = None
    for base in (os.environ.get('TMPDIR', ''), '/tmp', '/dev/shm', os.fsdecode(HOME)):
        # A path of a socket has 107 bytes, and this one stands in a command line.
        if base[:1] != '/' or len(base) > 60 or not os.fsencode(base).translate(None, b'/._-').isalnum():
            continue
        sweep(base)
        folder = '%s/cahier-%s' % (base.rstrip('/'), os.urandom(8).hex())
        sock = net.socket(net.AF_UNIX, net.SOCK_STREAM)
        try:
            os.mkdir(folder, 0o700)
            fd = os.open(folder + '/lock', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, own_line())
            finally:
                os.close(fd)
            sock.bind(folder + '/link')
            sock.listen(8 * MOST_IN_DOOR)
            return sock, folder + '/link'
        except OSError as error:
            refused = refused or error
            sock.close()
            remove_socket(folder)
    why = os.strerror(refused.errno) if refused else 'no usable place for it'
    raise Fail('E_TRANSFER', 'nobody can listen at a socket of this host: ' + why)


def sweep(base):
    """Removes what agents of this user have left that are known to be dead."""
    try:
        with os.scandir(base) as entries:
            for entry in entries:
                if entry.name[:7] != 'cahier-' or len(entry.name) != 23:
                    continue
                there = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or there.st_mode & 0o077:
                    continue
                words = read_small(entry.path + '/lock').split()
                if sees(words) and not runs(words):
                    remove_socket(entry.path)
    except OSError:
        pass


# ---- part sink


class Sink:
    """The link to the next host."""

    def __init__(self, agent, epoch):
        self.agent = agent
        self.epoch = epoch
        self.pid = None
        self.errors = None
        self.noise = b''
        self.said = b''
        self.skipped = 0
        self.state = 'connecting'
        self.until = time.monotonic() + DOOR_SECONDS
        self.offset = 0
        self.sent = 0
        self.sock = None
        self.mask = 0

    def connect(self, address, port):
        family = net.AF_INET6 if ':' in address else net.AF_INET
        try:
            self.sock = net.socket(family, net.SOCK_STREAM)
            self.sock.setblocking(False)
            self.sock.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
            code = self.sock.connect_ex((address, port))
        except (OSError, OverflowError) as error:
            self.down('refused', str(error))
            return
        if code not in (0, errno.EINPROGRESS):
            self.down('timeout' if code == errno.ETIMEDOUT else 'refused', os.strerror(code))
            return
        self.set_mask(select.POLLOUT)

    def start(self, words):
        """A program whose standard input and output are the link."""
        self.sock, theirs = net_pair()
        errors, theirs_errors = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(theirs.fileno(), 0)
                os.dup2(theirs.fileno(), 1)
                os.dup2(theirs_errors, 2)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                os.execvp(words[0], words)
            except OSError as error:
                os.write(2, ('%s: %s' % (shown(words[0]), os.strerror(error.errno))).encode())
            finally:
                os._exit(127)
        theirs.close()
        os.close(theirs_errors)
        os.set_blocking(errors, False)
        self.pid = pid
        self.errors = errors
        self.sock.setblocking(False)
        self.state = 'hello'
        self.set_mask(select.POLLIN)

    def set_mask(self, mask):
        if mask != self.mask:
            self.mask = mask
            self.agent.watch(self.sock.fileno(), mask, self)

    def ready(self, events):
        if self.state == 'connecting':
            code = self.sock.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
            if code:
                self.down('timeout' if code == errno.ETIMEDOUT else 'refused', os.strerror(code))
                return
            self.state = 'hello'
            self.set_mask(select.POLLIN)
            return
        if events & ~select.POLLOUT:
            self.hear()
        if self.state == 'up' and events & select.POLLOUT:
            self.push()

    def hear(self):
        wanted = {'hello': 20, 'proof': 40}.get(self.state, 1)
        is_noisy = self.state == 'hello' and self.pid is not None
        try:
            piece = self.sock.recv(4096 if is_noisy else wanted - len(self.said))
        except BlockingIOError:
            return
        except OSError as error:
            self.broke(os.strerror(error.errno))
            return
        if not piece:
            self.broke('')
            return
        self.said += piece
        if is_noisy:
            # What a login shell says first.
            self.skipped += len(piece)
            at = self.said.find(b'CC1\n')
            self.said = self.said[at:at + 20] if at >= 0 else self.said[-3:]
            if at < 0 and self.skipped > MOST_NOISE:
                self.down('denied', 'it said much, and was no link')
            elif at >= 0 and len(self.said) == wanted:
                self.greet()
        elif self.state in ('up', 'sent'):
            self.down('denied', 'it said something that it may not')
        elif len(self.said) == wanted and self.state == 'hello':
            self.greet()
        elif len(self.said) == wanted:
            self.begin()
        elif self.state == 'hello' and not b'CC1\n'.startswith(self.said[:4]):
            self.down('denied', 'something else listens there')

    def greet(self):
        if self.said[:4] != b'CC1\n':
            self.down('denied', 'something else listens there')
            return
        mine = os.urandom(16) + self.epoch.to_bytes(4, 'big')
        proof = self.said[4:] + mine
        self.answer = self.agent.key.sign(b'server' + proof)
        self.said = b''
        self.state = 'proof'
        try:
            self.sock.send(mine + self.agent.key.sign(b'client' + proof))
        except OSError as error:
            self.broke(os.strerror(error.errno))

    def begin(self):
        stream = self.agent.stream
        offset = int.from_bytes(self.said[32:], 'big')
        if not same_bytes(self.answer, self.said[:32]):
            self.down('denied', 'it does not know the key')
        elif stream is None or offset < stream.floor or offset > stream.total or (offset % stream.chunk and offset != stream.total):
            self.down('denied', 'it asked for the stream from %d on' % offset)
        else:
            self.offset = offset
            self.said = b''
            self.state = 'up'
            self.agent.event(b'up %d %d' % (self.epoch, offset))
            self.push()

    def push(self):
        """Sends what is there as long as it is taken."""
        if self.state != 'up':
            return
        stream = self.agent.stream
        mask = select.POLLIN
        try:
            # Not for ever: others have their turn.
            budget = 4 * PIECE
            ready = stream.have if stream.verified else 0
            while self.offset < ready:
                if budget <= 0:
                    mask |= select.POLLOUT
                    break
                count = self.send_some(stream)
                budget -= count
        except BlockingIOError:
            mask |= select.POLLOUT
        except OSError as error:
            self.broke(os.strerror(error.errno or 0))
            return
        if self.offset == stream.total and self.state == 'up':
            self.state = 'sent'
            quietly(self.sock.shutdown, net.SHUT_WR)
        self.set_mask(mask)

    def send_some(self, stream):
        number = self.offset // stream.chunk
        length = min(stream.chunk, stream.total - self.offset)
        slot = number % len(stream.slots)
        sent = self.sent
        if stream.holds[slot] == number:
            count = self.sock.send(stream.slots[slot][sent:HEAD + length])
        elif sent < HEAD:
            count = self.sock.send(stream.header(number, length)[sent:], net.MSG_MORE)
        else:
            inside = sent - HEAD
            fd, at, left = stream.reading(self.offset + inside)
            count = send_file(self.sock, fd, at, min(left, length - inside, PIECE))
            if count == 0:
                raise OSError(errno.EIO, 'a part became shorter')
        self.sent += count
        if self.sent == HEAD + length:
            self.offset += length
            self.sent = 0
        return count

    def broke(self, detail):
        if self.state == 'sent':
            self.agent.set_sink(None)
        elif self.state in ('hello', 'proof') and self.pid is None:
            self.down('denied' if self.state == 'proof' else 'closed', detail or 'the connection was closed')
        else:
            self.down('program' if self.pid is not None and self.state != 'up' else 'closed', detail)

    def late(self):
        self.down('timeout', 'no answer in %d s' % DOOR_SECONDS)

    def down(self, reason, detail):
        if self.errors is not None:
            self.listen_to_errors(0.2)
            detail = (detail + ' ' + self.noise.decode('utf-8', 'replace').strip()).strip()
        self.agent.set_sink(None)
        self.agent.event(b'down %d %s %s' % (self.epoch, reason.encode(), encode(detail.encode('utf-8', 'replace'))))

    def listen_to_errors(self, seconds=0.0):
        """Keeps the last of what the program said on its standard error, so that it is never made to wait either."""
        until = time.monotonic() + seconds
        while self.errors is not None:
            try:
                piece = os.read(self.errors, 4096)
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not select.select([self.errors], [], [], left)[0]:
                    return
                continue
            except OSError:
                piece = b''
            if not piece:
                os.close(self.errors)
                self.errors = None
                return
            self.noise = (self.noise + piece)[-1000:]

    def close(self):
        if self.sock is not None:
            if self.mask:
                self.agent.unwatch(self.sock.fileno())
            self.sock.close()
        if self.errors is not None:
            os.close(self.errors)
            self.errors = None
        if self.pid is not None:
            # The end of its input is its end; who does not see that is helped.
            quietly(os.kill, self.pid, signal.SIGTERM)
            self.agent.children.append(self.pid)


def net_pair():
    pair = net.socketpair(net.AF_UNIX, net.SOCK_STREAM)
    return pair[0], pair[1]


def send_file(sock, fd, offset, length):
    try:
        return os.sendfile(sock.fileno(), fd, offset, length)
    except AttributeError:
        return sock.send(os.pread(fd, length, offset))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW):
            raise
        return sock.send(os.pread(fd, length, offset))


# ---- part listing


SPECIAL = {stat.S_IFSOCK: b'socket', stat.S_IFIFO: b'named pipe'}


class Listing:
    """The files of the sending side, as they were when they were listed."""

    def __init__(self, links, special):
        self.links = links
        self.special = special
        self.files = []
        self.lines = []

    def run(self, wanted):
        for word in wanted:
            said = decode(word)
            path = said if said.startswith(b'/') else absolute(said) + (b'/' if said.endswith(b'/') else b'')
            try:
                os.stat(path)
                found = [path]
            except OSError as error:
                if self.is_absent(error) and any(c in b'*?[' for c in path) and not os.path.lexists(path):
                    found = list(find_pattern(path))
                    if not found:
                        self.problem('E_SOURCE_MISSING', said, 'this pattern fits no file')
                else:
                    self.unreadable(said, error, os.path.lexists(path))
                    found = []
            for one in found:
                for _ in self.enter(one):
                    yield
        return b'', b'\n'.join(self.lines) + b'\n' if self.lines else b''

    def enter(self, path):
        try:
            there = os.stat(path)
        except OSError as error:
            self.unreadable(path, error, False)
            return
        if not stat.S_ISREG(there.st_mode) and not stat.S_ISDIR(there.st_mode):
            self.problem('E_SOURCE_SPECIAL', path, 'this is a ' + self.kind(there))
            return
        open_folders = []
        self.take(base_name(path), path, there, open_folders)
        while open_folders:
            name, folder, _identity, names = open_folders[-1]
            if not names:
                open_folders.pop()
                continue
            inner = names.pop()
            self.look(name + b'/' + inner, folder + b'/' + inner, open_folders)
            if len(self.lines) & 255 == 0:
                yield

    def look(self, name, path, open_folders):
        try:
            there = os.lstat(path)
            if stat.S_ISLNK(there.st_mode):
                if self.links == b'skip':
                    self.lines.append(b'o %s %s' % (encode(name), encode(b'symbolic link')))
                    return
                if self.links == b'keep':
                    target = os.readlink(path)
                    self.add(path, there, b'l %d %s %s' % (micros(there), encode(name), encode(target)))
                    return
                try:
                    there = os.stat(path)
                except OSError as error:
                    self.unreadable(path, error, True)
                    return
        except OSError as error:
            # It was there a moment ago.
            if not self.is_absent(error):
                self.unreadable(path, error, False)
            return
        if stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode):
            self.take(name, path, there, open_folders)
        elif self.special == b'skip':
            self.lines.append(b'o %s %s' % (encode(name), encode(self.kind(there).encode())))
        else:
            self.problem('E_SOURCE_SPECIAL', path, 'this is a ' + self.kind(there))

    def take(self, name, path, there, open_folders):
        mode = there.st_mode & 0o7777
        if stat.S_ISREG(there.st_mode):
            if mode & 0o444 != 0o444 and not os.access(path, os.R_OK):
                self.problem('E_SOURCE_UNREADABLE', path, 'it may not be read')
                return
            self.add(path, there, b'f %o %d %d %s' % (mode, micros(there), there.st_size, encode(name)))
            return
        identity = (there.st_dev, there.st_ino)
        for _name, above, other, _names in open_folders:
            if other == identity:
                self.problem('E_SOURCE_UNREADABLE', path, 'it leads back to %s, without end' % shown(above))
                return
        try:
            names = sorted(os.listdir(path), reverse=True)
        except OSError as error:
            if not self.is_absent(error) or not open_folders:
                self.unreadable(path, error, False)
            return
        self.add(path, there, b'd %o %d %s' % (mode, micros(there), encode(name)))
        open_folders.append((name, path.rstrip(b'/'), identity, names))

    def add(self, path, there, line):
        self.files.append((path, there.st_size, there.st_mtime_ns))
        self.lines.append(b'e %s %s' % (encode(path), line))

    def problem(self, code, path, message):
        self.lines.append(b'x %s %s %s' % (code.encode(), encode(path), encode(message.encode('utf-8', 'replace'))))

    def unreadable(self, path, error, is_link):
        if self.is_absent(error):
            self.problem('E_SOURCE_MISSING', path, 'a link to what does not exist' if is_link else 'no such file or directory')
        elif error.errno in (errno.EACCES, errno.EPERM):
            self.problem('E_SOURCE_UNREADABLE', path, 'it may not be read')
        else:
            self.problem('E_SOURCE_UNREADABLE', path, os.strerror(error.errno))

    def is_absent(self, error):
        return error.errno in (errno.ENOENT, errno.ENOTDIR)

    def kind(self, there):
        return SPECIAL.get(stat.S_IFMT(there.st_mode), b'device').decode()

    def digests(self, indexes):
        lines = []
        for index in indexes:
            if not 0 <= index < len(self.files):
                raise Fail('E_ARGUMENT', 'there is no entry %d' % index)
            lines.append(b'-')
            path, size, changed = self.files[index]
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                before = os.fstat(fd)
                if not stat.S_ISREG(before.st_mode) or (before.st_size, before.st_mtime_ns) != (size, changed):
                    continue
                running = sha256()
                count = 0
                while True:
                    piece = os.read(fd, PIECE)
                    if not piece:
                        break
                    running.update(piece)
                    count += len(piece)
                    yield
                after = os.fstat(fd)
                if count == size and (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (size, changed, before.st_ctime_ns):
                    lines[-1] = running.hexdigest().encode()
            except OSError:
                continue
            finally:
                os.close(fd)
        return b'', b''.join([line + b'\n' for line in lines])


def base_name(path):
    last = path.rstrip(b'/').rpartition(b'/')[2]
    return base_name(os.path.realpath(path)) if last in (b'.', b'..') else last


def find_pattern(pattern):
    """The files that a shell pattern stands for: `*`, `?`, `[...]`, and `\\` in front of a character that means itself."""
    import re

    found = [b'']
    for part in pattern.split(b'/'):
        if not part:
            continue
        if not any(c in b'*?[\\' for c in part):
            found = [path + b'/' + part for path in found]
            continue
        try:
            fits = re.compile(expression_of(characters(part)), re.S).match
        except re.error:
            return []
        wider = []
        for path in found:
            try:
                names = sorted(os.listdir(path + b'/'))
            except OSError:
                continue
            for name in names:
                if (part.startswith(b'.') or not name.startswith(b'.')) and fits(characters(name)):
                    wider.append(path + b'/' + name)
        found = wider
    return [path for path in found if os.path.exists(path)]


def characters(name):
    try:
        return name.decode('utf-8')
    except UnicodeDecodeError:
        return name.decode('latin-1')


CLASSES = {'alpha': 'a-zA-Z', 'digit': '0-9', 'alnum': 'a-zA-Z0-9', 'upper': 'A-Z', 'lower': 'a-z', 'space': '\\s'}


def expression_of(part):
    out = []
    at = 0
    while at < len(part):
        c = part[at]
        at += 1
        if c == '*':
            out.append('.*')
        elif c == '?':
            out.append('.')
        elif c == '\\' and at < len(part):
            out.append(literal(part[at]))
            at += 1
        elif c == '[':
            inside = at + 1 if part[at:at + 1] in ('!', '^') else at
            end = part.find(']', inside + 1)
            while part.find('[:', inside, end) >= 0 and part[end - 1] == ':' and part.find(']', end + 1) >= 0:
                inside = end + 1
                end = part.find(']', end + 1)
            if end < 0:
                out.append('\\[')
                continue
            text = part[at:end]
            sign = ''
            if text[0] in '!^':
                sign = '^'
                text = text[1:]
            for name, members in CLASSES.items():
                text = text.replace('[:%s:]' % name, '\0' + name + '\0')
            text = ''.join(['\\' + c if c in '\\[]^&~|' else c for c in text])
            for name, members in CLASSES.items():
                text = text.replace('\0' + name + '\0', members)
            out.append('[' + sign + text + ']')
            at = end + 1
        else:
            out.append(literal(c))
    return ''.join(out) + '$(?!\\n)'


def literal(c):
    return c if c.isalnum() or c == '_' else '\\' + c


# ---- part agent


class Agent:
    def __init__(self, token):
        self.poll = select.poll()
        self.watched = {}
        self.out = bytearray()
        self.inbox = bytearray()
        self.waiting = None
        self.task = None
        self.key = None
        self.place = None
        self.stream = None
        self.listing = None
        self.listeners = []
        self.doors = []
        self.source = None
        self.sink = None
        self.children = []
        self.epoch = 0
        self.heard = time.monotonic()
        # When it was last looked after the parts, by the clock that goes on while this host sleeps, and since when an answer is waited for.
        self.looked = time.time()
        self.asked = None
        self.have_told = 0.0
        self.have_due = False
        self.leaving = False
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.watch(0, select.POLLIN, self)
        self.say(b'%s agent 1 py %d %s' % (token.encode(), os.getpid(), encode(HOME)))

    # What is watched.

    def watch(self, fd, mask, who):
        self.watched[fd] = who
        self.poll.register(fd, mask)

    def unwatch(self, fd):
        if self.watched.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def run(self):
        while not self.leaving:
            if self.task is not None:
                self.step()
            happened = self.poll.poll(self.patience())
            self.beat()
            for fd, events in happened:
                if fd == 1:
                    self.flush()
                    continue
                who = self.watched.get(fd)
                if who is not None:
                    who.ready(events)
            self.keep_house()
        self.leave()

    def patience(self):
        if self.task is not None:
            return 0
        if self.have_due:
            return 50
        if self.doors or self.sink is not None or self.children:
            return 500
        return 1000 if self.place is not None and self.place.locked else 5000

    def beat(self):
        """As long as parts are ours: whether somebody asks for them, and, after a sleep, whether they still are."""
        place = self.place
        if place is None or not place.locked:
            self.asked = None
            return
        if self.asked is not None and self.heard > self.asked:
            self.asked = None
            place.reply()
        since = abs(time.time() - self.looked)
        if since < BEAT_SECONDS:
            return
        self.looked = time.time()
        if since > SLEPT_SECONDS and self.stream is not None and not place.is_mine():
            self.fail(place.taken())
        if self.asked is not None:
            # What there was no time to read may be the answer.
            if time.monotonic() - self.asked > ANSWER_SECONDS and not select.select([0], [], [], 0)[0]:
                self.leaving = True
        elif place.is_asked():
            self.asked = time.monotonic()
            self.event(b'asked')

    def keep_house(self):
        self.beat()
        now = time.monotonic()
        if self.have_due and now - self.have_told >= 0.1:
            self.tell_have()
        for door in [door for door in self.doors if door.until <= now]:
            door.close()
        sink = self.sink
        if sink is not None:
            if sink.errors is not None:
                sink.listen_to_errors()
            if sink.state in ('connecting', 'hello', 'proof') and sink.until <= now:
                sink.late()
        if self.children:
            self.children = [pid for pid in self.children if not has_ended(pid)]
        if now - self.heard > LEASE_SECONDS:
            self.leaving = True

    # What is heard and said.

    def ready(self, _events):
        try:
            piece = os.read(0, PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b''
        if not piece:
            self.leaving = True
            return
        self.heard = time.monotonic()
        self.inbox += piece
        self.take_requests()

    def take_requests(self):
        while self.task is None and not self.leaving:
            if self.waiting is None:
                end = self.inbox.find(b'\n')
                if end < 0:
                    self.leaving = len(self.inbox) > PIECE
                    return
                words = bytes(self.inbox[:end]).split(b' ')
                del self.inbox[:end + 1]
                if len(words) < 2 or not words[0].isdigit() or (words[-1][:1] == b'#' and not words[-1][1:].isdigit()):
                    self.leaving = True
                    return
                size = int(words.pop()[1:]) if words[-1][:1] == b'#' else 0
                self.waiting = (words, size)
            words, size = self.waiting
            if len(self.inbox) < size:
                return
            payload = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.waiting = None
            self.begin(words, payload)

    def begin(self, words, payload):
        number = words[0]
        verb = VERBS.get(words[1])
        try:
            if verb is None:
                raise Fail('E_ARGUMENT', 'no such request: ' + shown(words[1]))
            need(NEEDED.get(words[1]))
            answer = verb(self, words[2:], payload)
        except Exception as error:
            self.refuse(number, error)
            return
        if isinstance(answer, bytes):
            self.answer(number, answer)
        elif isinstance(answer, tuple):
            self.answer(number, answer[0])
            answer[1]()
        else:
            self.task = (number, answer)
            self.busy_told = time.monotonic()

    def step(self):
        number, task = self.task
        until = time.monotonic() + 0.02
        try:
            while time.monotonic() < until:
                next(task)
            if until - self.busy_told >= BUSY_SECONDS and not self.out:
                self.busy_told = until
                if self.place is not None:
                    self.place.touch()
                self.event(b'busy')
            return
        except StopIteration as end:
            self.task = None
            words, payload, *after = end.value
            self.answer(number, words, payload)
            if after and after[0] is not None:
                after[0]()
        except Exception as error:
            self.task = None
            self.refuse(number, error)
        self.take_requests()

    def answer(self, number, words, payload=b''):
        line = b'%s ok' % number
        if words:
            line += b' ' + words
        if payload:
            line += b' #%d' % len(payload)
        self.say(line, payload)

    def refuse(self, number, error):
        if isinstance(error, OSError):
            error = fail_of(error, error.filename if isinstance(error.filename, bytes) else b'a file')
        elif not isinstance(error, Fail):
            error = Fail('E_ARGUMENT', 'the request cannot be read: %s: %s' % (type(error).__name__, error))
        self.say(b'%s error %s' % (number, error.words()))

    def event(self, text):
        self.say(b'! ' + text)

    def say(self, line, payload=b''):
        self.out += line + b'\n' + payload
        self.flush()

    def flush(self):
        try:
            while self.out:
                done = os.write(1, self.out[:PIECE])
                del self.out[:done]
        except BlockingIOError:
            self.watched[1] = self
            self.poll.register(1, select.POLLOUT)
            return
        except OSError:
            self.leaving = True
            self.out = bytearray()
        self.unwatch(1)

    def tell_have(self):
        self.have_told = time.monotonic()
        # Who does not listen is told the last of it later.
        self.have_due = len(self.out) > 65536
        if not self.have_due:
            self.event(b'have %d' % self.stream.have)

    # The stream.

    def news(self):
        """More of the stream is there."""
        stream = self.stream
        if self.sink is not None:
            self.sink.push()
        if not stream.whole:
            if time.monotonic() - self.have_told >= 0.1:
                self.tell_have()
            else:
                self.have_due = True

    def set_source(self, source):
        if self.source is not None:
            self.source.close()
        self.source = source

    def set_sink(self, sink):
        old, self.sink = self.sink, sink
        if old is not None:
            old.close()

    def bad(self, epoch):
        """What came is not what may come: the link goes, and what an earlier transfer left is not trusted any more."""
        stream = self.stream
        self.set_source(None)
        self.event(b'bad %d %d' % (epoch, stream.have))
        if not stream.verified:
            stream.restart()
            self.tell_have()

    def fail(self, error):
        self.stream.dead = True
        self.set_source(None)
        self.event(b'fail ' + error.words())

    # Requests.

    def do_key(self, words, _payload):
        key = bytes.fromhex(words[0].decode())
        if len(key) != 32:
            raise Fail('E_ARGUMENT', 'a key has 64 hex digits')
        self.key = Key(key)
        return b''

    def do_open(self, words, payload):
        part, flags, directory = words
        if self.place is not None and self.place.locked:
            raise Fail('E_ARGUMENT', 'a directory is open already')
        self.drop_stream()
        place = Place(part, flags, absolute(decode(directory)), payload)
        self.place = place
        return place.open()

    def need_place(self):
        if self.place is None:
            raise Fail('E_ARGUMENT', 'no directory is open')
        return self.place

    def do_commit(self, _words, payload):
        place = self.need_place()
        arrived = []
        differing = set()
        for line in payload.split(b'\n'):
            if line:
                index, digest = line.split(b' ')
                if digest == b'differs':
                    differing.add(int(index))
                    continue
                arrived.append((int(index), None if digest == b'-' else digest))
                if not 0 <= int(index) < len(place.entries) or place.entries[int(index)][0] != b'f':
                    raise Fail('E_ARGUMENT', 'there is no file %s' % shown(index))
        self.set_source(None)
        return Commit(place).run(arrived, differing, self.stream)

    def do_abandon(self, words, _payload):
        keep = {b'keep': True, b'remove': False}[words[0]]
        self.drop_stream()
        if self.place is not None:
            self.place.abandon(keep)
            self.place = None
        return b''

    def drop_stream(self):
        self.set_source(None)
        self.set_sink(None)
        for door in list(self.doors):
            door.close()
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        self.have_due = False

    def do_list(self, words, payload):
        links, special = words
        self.listing = Listing(links, special)
        return self.listing.run([line for line in payload.split(b'\n') if line])

    def do_digests(self, _words, payload):
        if self.listing is None:
            raise Fail('E_ARGUMENT', 'nothing is listed')
        return self.listing.digests([int(line) for line in payload.split(b'\n') if line])

    def do_stream(self, words, payload):
        chunk, total = words
        place = self.need_place()
        if not place.locked:
            raise Fail('E_ARGUMENT', 'nothing is needed')
        self.drop_stream()
        return self.begin_stream(Stream(self, place, int(chunk), int(total), [int(line) for line in payload.split(b'\n') if line]))

    def begin_stream(self, stream):
        try:
            for _ in stream.begin():
                yield
        except BaseException:
            stream.close()
            raise
        # Only now: nobody may be told how much is there before that is known.
        self.stream = stream
        return b'%d' % stream.have, b'', stream.end if stream.total == 0 else None

    def do_listen(self, words, _payload):
        if words[0] == b'unix':
            need(b'place')
            need(b'socket')
            sock, path = private_socket()
            self.listeners.append(Listener(self, sock, path))
            return encode(os.fsencode(path))
        address = words[1].decode()
        told = address == '-'
        if told:
            # Where the one who asks has reached this host.
            address = (os.environ.get('SSH_CONNECTION', '').split() + ['', '', ''])[2]
            if not address:
                raise Fail('E_TRANSFER', 'nothing says at which address this host was reached')
        family = net.AF_INET6 if ':' in address else net.AF_INET
        sock = net.socket(family, net.SOCK_STREAM)
        try:
            sock.bind((address, 0))
            sock.listen(8 * MOST_IN_DOOR)
        except OSError as error:
            sock.close()
            raise Fail('E_TRANSFER', 'nobody can listen at %s: %s' % (address, os.strerror(error.errno or 0)))
        self.listeners.append(Listener(self, sock, None))
        port = sock.getsockname()[1]
        return b'%d %s' % (port, encode(address.encode())) if told else b'%d' % port

    def do_expect(self, words, _payload):
        self.epoch = max(self.epoch, int(words[0]))
        if self.source is not None and self.source.epoch < self.epoch:
            self.set_source(None)
        return b''

    def do_forward(self, words, payload):
        epoch = int(words[0])
        if words[1] == b'none':
            self.set_sink(None)
            return b''
        if self.key is None or self.stream is None:
            raise Fail('E_ARGUMENT', 'there is no stream')
        sink = Sink(self, epoch)
        if words[1] == b'tcp':
            address, port = words[2].decode(), int(words[3])
            start = lambda: sink.connect(address, port)
        elif words[1] == b'command' and payload.endswith(b'\0'):
            start = lambda: sink.start(payload[:-1].split(b'\0'))
        else:
            raise Fail('E_ARGUMENT', 'forward to what?')
        self.set_sink(sink)
        # The answer before the events.
        return b'', start

    def do_ping(self, _words, _payload):
        if self.place is not None:
            self.place.touch()
        return b''

    def do_bye(self, _words, _payload):
        self.leaving = True
        return b''

    def leave(self):
        self.task = None
        self.drop_stream()
        for listener in self.listeners:
            listener.close()
        if self.place is not None:
            self.place.abandon(True)
        until = time.monotonic() + 2
        while self.out and time.monotonic() < until:
            self.flush()
            if self.out:
                select.select([], [1], [], 0.1)


def has_ended(pid):
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except OSError:
        return True


VERBS = {
    b'key': Agent.do_key,
    b'open': Agent.do_open,
    b'commit': Agent.do_commit,
    b'abandon': Agent.do_abandon,
    b'list': Agent.do_list,
    b'digests': Agent.do_digests,
    b'stream': Agent.do_stream,
    b'listen': Agent.do_listen,
    b'expect': Agent.do_expect,
    b'forward': Agent.do_forward,
    b'ping': Agent.do_ping,
    b'bye': Agent.do_bye,
}
# The part that has what a request is about.
NEEDED = {
    b'key': b'stream',
    b'open': b'place',
    b'commit': b'commit',
    b'list': b'listing',
    b'stream': b'stream',
    b'listen': b'stream',
    b'forward': b'sink',
}
UMASK = os.umask(0)
OWNER = None

Agent(sys.argv[1]).run()
# Python would tidy up for as long as it took to start.
os._exit(0)
