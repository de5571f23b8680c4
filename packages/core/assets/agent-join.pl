# Carries bytes between its own standard streams and the socket at which an agent listens.
#
#   perl -e '<this text, in one line>' path
#
# Sent as one word of a command line: no quotes of the single kind, no backslashes, no exclamation marks. It ends with the socket; the end
# of its input is handed on. One loop for both directions, each with what the other side has not taken yet: neither holds up the other.
use Socket;
socket S, PF_UNIX, SOCK_STREAM, 0;
connect S, sockaddr_un(shift) or warn("the agent does not listen any more: " . $! . "$/"), exit 4;
$SIG{PIPE} = "IGNORE";
use Fcntl;
fcntl $_, F_SETFL, O_NONBLOCK | fcntl $_, F_GETFL, 0 for STDIN, STDOUT, S;
@f = (STDIN, S);
@t = (S, STDOUT);
@b = @o = ("", "");
@e = (0, 0);
for (;;) {
$r = $w = "";
for (0, 1) { vec(length $b[$_] ? $w : $r, fileno(length $b[$_] ? $t[$_] : $f[$_]), 1) = 1 unless $e[$_] }
select $r, $w, undef, undef;
for $i (0, 1) {
next if $e[$i];
unless (length $b[$i]) {
next unless vec $r, fileno $f[$i], 1;
$n = sysread $f[$i], $b[$i], 262144;
if (not defined $n) { next if grep { $_ == $! } 4, 11, 35; $n = 0 }
unless ($n) { exit if $i; $e[0] = 1; shutdown S, 1; next }
$o[$i] = 0;
}
$n = syswrite $t[$i], $b[$i], length($b[$i]) - $o[$i], $o[$i];
if (not defined $n) { next if grep { $_ == $! } 4, 11, 35; exit 5 }
$b[$i] = "" if ($o[$i] += $n) == length $b[$i];
}
}
