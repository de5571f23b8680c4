#!/usr/bin/perl
# The runner of Cahier: starts commands on request, frames what they print, says how they ended.
# One file, no module beyond perl's own core, perl 5.8 or later. The protocol: docs/reference/runner.md.
#
#   perl runner.pl token lease-seconds grace-seconds
#
# Hundreds of hosts start this at once, so what every runner needs is compiled at its start, and the rest, text in @RARE, when it is
# first called. POSIX alone would take longer to load than everything else together. Comment lines and indentation are stripped before
# the program is sent.
use strict;

our ($token, $lease, $grace) = @ARGV;
our $VERSION = 2;
# Reading from commands stops when so much waits; with a lease, what was said and not acknowledged counts too.
our $MOST = $lease ? 4 << 20 : 1 << 20;
our $READ = 262144;

our %job;       # id => { pid, in, inq, out, err, open, gone, detach, marker, forgotten }
our %id_of;     # pid => id, of those that were not waited for
our %reader;    # descriptor => [id, key of the handle, frame type]
our %writer;    # descriptor => id
# Bits for select: outputs of commands, their inputs, the link.
our ($rin, $win, $lin) = ('', '', '');
# The link: its handles, what was read of an unfinished request, how many bytes of requests were taken, the hello on its way out.
our ($IN, $OUT, $in, $taken, $greet) = (\*STDIN, \*STDOUT, '', 0, '');
# What was said, as chunks: the next one to go out, and how much of it has gone; where in the stream the first one begins and the last
# one ends. With a lease, those before $next wait to be acknowledged.
our (@chunks, $next, $at, $base, $end);
($next, $at, $base, $end) = (0, 0, 0, 0);
# What was acknowledged, and what should be before we go: all that was said but the last signs of life.
our ($acked, $owed) = (0, 0);
# The link was lost; somebody wants to take up; on a new link, nothing was said yet; the socket for it.
our ($lost, $take_up, $fresh, $listen) = (0, 0, 0, undef);
our ($ended, $chld, $buffer, $turn) = (0, 0, '', 0);
our ($SETSID, $DUP, $CLOCK, $NONBLOCK, $EAGAIN, $LINUX);
our ($TIME, $heard, $directory, $pause) = ("\0" x 16, 0, '', undef);
# The end of a child that could not become its program is told through a pipe.
our ($null, $fail_r, $fail_w);
# Those that have ended and whose last output has no room yet: [id, pid, status].
our @late;
our (@RARE, @scan);

# Numbers of setsid, dup3, clock_gettime, which linux never changes, for x86_64, aarch64 and riscv64; elsewhere POSIX is asked.
sub know_system {
  my $head = '';
  if ($^O eq 'linux' && open my $exe, '<', '/proc/self/exe') { sysread $exe, $head, 20 }
  my ($class, $machine) = unpack 'x4 H4 x12 H4', $head . "\0" x 20;
  my $calls = { '3e00' => [112, 292, 228], 'b700' => [157, 24, 113], 'f300' => [157, 24, 113] }->{$class eq '0201' ? $machine : ''};
  if ($calls) { ($SETSID, $DUP, $CLOCK, $NONBLOCK, $EAGAIN, $LINUX) = (@$calls, 2048, 11, 1) } else { ask_posix() }
}

# Seconds on a clock that nobody sets.
sub now {
  return slow_now() unless $CLOCK;
  syscall $CLOCK, 1, $TIME;
  my ($seconds, $rest) = unpack 'l!2', $TIME;
  return $seconds + $rest / 1e9;
}

# A line end comes first, so that noise without one cannot swallow the hello.
sub greet {
  my $text = "$VERSION perl $$ $taken $directory";
  $greet = "\nH 0 " . length($text) . " $token\n$text";
}

sub say_frame {
  my $frame = "$_[0] $_[1] " . length($_[2]) . " $token\n" . $_[2];
  $end += length $frame;
  $owed = $end if $_[0] ne 'P';
  if ($next < @chunks && length $chunks[-1] < 16384) { $chunks[-1] .= $frame } else { push @chunks, $frame }
}

sub flush_out {
  return if !$OUT || $fresh;
  while (length $greet || $next < @chunks) {
    my $n = length $greet ? syswrite $OUT, $greet : syswrite $OUT, $chunks[$next], length($chunks[$next]) - $at, $at;
    if (!defined $n) { lose_link() unless $! == $EAGAIN || $! == 4; return }
    if (length $greet) { substr($greet, 0, $n) = ''; next }
    $at += $n;
    return if $at < length $chunks[$next];
    $at = 0;
    if ($lease) { $next++ } else { $base += length shift @chunks }
  }
}

sub read_requests {
  my $n = sysread $IN, $in, 65536, length $in;
  if (!defined $n) { lose_link() unless $! == $EAGAIN || $! == 4; return }
  return lose_link() if $n == 0;
  $heard = now();
  my $at = 0;
  my $have = length $in;
  while ($have - $at >= 9) {
    my ($len, $type, $id) = unpack 'N a N', substr $in, $at, 9;
    last if $have - $at - 9 < $len;
    my $payload = substr $in, $at + 9, $len;
    $at += 9 + $len;
    if ($fresh) {
      return lose_link() unless $type eq 'a' && taken_up($payload);
      next;
    }
    $taken += 9 + $len;
    if    ($type eq 's') { start($id, $payload); reap() if $chld }
    elsif ($type eq 'f') { forget($id) }
    elsif ($type eq 'a') { acknowledge($payload) }
    elsif ($type eq 'p') { say_frame('P', 0, '') }
    elsif ($type eq 'w') { add_input($id, $payload) }
    elsif ($type eq 'c') { end_input($id) }
    elsif ($type eq 'd') { drop($id) }
    elsif ($type eq 'k') { signal_group($id, $payload) }
    elsif ($type eq 'K') { signal_tree($id, $payload) }
    elsif ($type eq 't') { tell_tree($id) }
    elsif ($type eq 'j') { start_job($id, $payload); reap() if $chld }
    elsif ($type eq 'q') { $ended = 1 }
  }
  substr($in, 0, $at) = '' if $at;
  @scan = () if @scan;
}

sub start {
  my ($id, $payload) = @_;
  my (@argv, @set, @unset, %one);
  my $marker = '';
  my @fields = unpack '(a N/a*)*', $payload;
  while (@fields) {
    my $key = shift @fields;
    my $value = shift @fields;
    if    ($key eq 'a') { push @argv, $value }
    elsif ($key eq 'e') { push @set, $value; $marker = $1 if $value =~ /^CAHIER_PROC=(?:.* )?(\S+)$/s }
    elsif ($key eq 'u') { push @unset, $value }
    else                { $one{$key} = $value }
  }
  my ($or, $ow, $er, $ew, $ir, $iw);
  if (defined $one{o}) {
    my $mode = exists $one{A} ? '>>' : '>';
    open $ow, $mode, $one{o} or return failed($id, 'stdout', $!);
    if ($one{r} eq $one{o}) { $ew = $ow } else { open $ew, $mode, $one{r} or return failed($id, 'stderr', $!) }
  } else {
    pipe $or, $ow or return failed($id, 'pipe', $!);
    pipe $er, $ew or return failed($id, 'pipe', $!);
  }
  if (exists $one{p} || defined $one{t}) { pipe $ir, $iw or return failed($id, 'pipe', $!) }

  my $pid = fork;
  return failed($id, 'fork', $!) unless defined $pid;
  if ($pid == 0) {
    # Every page that is touched here is copied first, so little is done. Signals are as they should be: none is ignored.
    if ($LINUX) {
      syscall $SETSID;
      syscall $DUP, fileno($ir || $null), 0, 0;
      syscall $DUP, fileno $ow, 1, 0;
      syscall $DUP, fileno $ew, 2, 0;
    } else {
      POSIX::setsid();
      open STDIN, '<&', $ir || $null;
      open STDOUT, '>&', $ow;
      open STDERR, '>&', $ew;
    }
    child_failed(1, $!) if defined $one{d} && !chdir $one{d};
    delete $ENV{$_} for @unset;
    set_variables(\@set);
    exec { $argv[0] } @argv or child_failed(2, $!);
  }

  my $j = $job{$id} = { pid => $pid, open => 0, detach => exists $one{D}, marker => $marker };
  $id_of{$pid} = $id;
  if ($or) { watch($id, 'out', $or, 'O'); watch($id, 'err', $er, 'E') }
  say_frame('S', $id, $pid);
  open_input($id, $iw, $one{t}) if $iw;
}

sub set_variables {
  for (@{$_[0]}) { my $cut = index $_, '='; $ENV{substr $_, 0, $cut} = substr $_, $cut + 1 }
}

sub child_failed {
  my ($stage, $errno) = @_;
  syswrite $fail_w, pack 'N N N', $$, $stage, 0 + $errno;
  exit 127;
}

sub watch {
  my ($id, $key, $handle, $type) = @_;
  fcntl $handle, 4, $NONBLOCK;
  my $fd = fileno $handle;
  $job{$id}{$key} = $handle;
  $job{$id}{open}++;
  $reader{$fd} = [$id, $key, $type];
  vec($rin, $fd, 1) = 1;
}

# Returns true when there may be more.
sub read_output {
  my $fd = shift;
  my $entry = $reader{$fd} or return 0;
  my ($id, $key, $type, $wide) = @$entry;
  my $room = $MOST - ($end - $base);
  my $n = sysread $job{$id}{$key}, $buffer, $room < $READ ? $room : $READ;
  if ($n) {
    say_frame($type, $id, $buffer);
    # Somebody has much to say: a wider pipe (F_SETPIPE_SZ).
    if ($n == 65536 && $LINUX && !$wide) { $entry->[3] = 1; fcntl $job{$id}{$key}, 1031, $READ }
    return 1;
  }
  return 0 if !defined $n && ($! == $EAGAIN || $! == 4);
  unwatch($id, $key);
  return 0;
}

sub unwatch {
  my ($id, $key) = @_;
  my $j = $job{$id};
  my $handle = delete $j->{$key} or return;
  my $fd = fileno $handle;
  vec($rin, $fd, 1) = 0;
  delete $reader{$fd};
  close $handle;
  $j->{open}--;
  say_frame('z', $id, '') if $j->{gone} && !$j->{forgotten};
}

# One that still runs is remembered until its end, for the sake of our own.
sub forget {
  my $id = shift;
  my $j = $job{$id} or return;
  $j->{forgotten} = 1;
  drop($id) if $j->{open} || $j->{in};
  delete $job{$id} if $j->{gone};
}

sub reap {
  $chld = 0;
  while ((my $pid = waitpid -1, 1) > 0) {
    my $id = delete $id_of{$pid};
    push @late, [$id, $pid, $?] if defined $id;
  }
  @late = grep { !conclude(@$_) } @late if @late;
}

# Says how one ended, after what it said; false when there is no room for that.
sub conclude {
  my ($id, $pid, $status) = @_;
  my $j = $job{$id};
  for my $key ('out', 'err') {
    # What the process itself wrote fits in the pipe; more comes from others, and in its turn.
    for (my $rest = 17; $rest && $j->{$key}; $rest--) {
      return 0 if $end - $base >= $MOST;
      last unless read_output(fileno $j->{$key});
    }
  }
  return 1 if $status >> 8 == 127 && never_ran($id, $pid);
  $j->{gone} = 1;
  say_frame('X', $id, ($status >> 8) . ' ' . ($status & 127) . ' ' . $j->{open}) unless $j->{forgotten};
  close_input($id) if $j->{in};
  delete $job{$id} if $j->{forgotten} || $j->{job};
  return 1;
}

sub AUTOLOAD {
  our $AUTOLOAD;
  my $name = substr $AUTOLOAD, 2 + rindex $AUTOLOAD, '::';
  my ($text) = grep { /^sub $name\b/m } @RARE;
  defined $text && eval "$text;1" or die "$name: $@\n";
  goto &{\&$AUTOLOAD};
}

push @RARE, <<'RARE';
# Standard input of commands.
sub open_input {
  my ($id, $handle, $text) = @_;
  my $j = $job{$id};
  fcntl $handle, 4, $NONBLOCK;
  $j->{in} = $handle;
  $j->{inq} = '';
  return unless defined $text;
  $j->{inq} = $text;
  $j->{close} = $j->{quiet} = 1;
  length $text ? write_input($id) : close_input($id);
}

sub add_input {
  my ($id, $bytes) = @_;
  my $j = $job{$id};
  if ($j && $j->{in}) { $j->{inq} .= $bytes; write_input($id) } else { say_frame('B', $id, '') }
}

sub end_input {
  my $j = $job{$_[0]} or return;
  $j->{close} = 1;
  close_input($_[0]) if $j->{in} && !length $j->{inq};
}

sub write_input {
  my $id = shift;
  my $j = $job{$id} or return;
  my $h = $j->{in} or return;
  my $fd = fileno $h;
  my $n = syswrite $h, $j->{inq}, 65536;
  if (!defined $n) {
    if ($! != $EAGAIN && $! != 4) {
      say_frame('B', $id, '') unless $j->{quiet};
      close_input($id);
      return;
    }
  } else {
    substr($j->{inq}, 0, $n) = '';
    say_frame('W', $id, $n) unless $j->{quiet};
  }
  if (length $j->{inq}) { $writer{$fd} = $id; vec($win, $fd, 1) = 1 }
  else {
    delete $writer{$fd};
    vec($win, $fd, 1) = 0;
    close_input($id) if $j->{close};
  }
}

sub close_input {
  my $j = $job{$_[0]} or return;
  my $h = delete $j->{in} or return;
  my $fd = fileno $h;
  delete $writer{$fd};
  vec($win, $fd, 1) = 0;
  $j->{inq} = '';
  close $h;
}
RARE

push @RARE, <<'RARE';
# What went wrong at a start.
sub failed {
  my ($id, $stage, $errno) = @_;
  $errno += 0;
  my %name = (
    1 => 'EPERM', 2 => 'ENOENT', 5 => 'EIO', 7 => 'E2BIG', 8 => 'ENOEXEC', 12 => 'ENOMEM', 13 => 'EACCES', 20 => 'ENOTDIR',
    21 => 'EISDIR', 23 => 'ENFILE', 24 => 'EMFILE', 26 => 'ETXTBSY', 28 => 'ENOSPC', 30 => 'EROFS',
    $LINUX ? (11 => 'EAGAIN', 36 => 'ENAMETOOLONG', 40 => 'ELOOP') : (35 => 'EAGAIN', 62 => 'ELOOP', 63 => 'ENAMETOOLONG'),
  );
  my $code = $name{$errno} || "ERRNO$errno";
  $! = $errno;
  say_frame('F', $id, "$stage $code $!");
}

# True when the fork could not become the program.
sub never_ran {
  my ($id, $pid) = @_;
  our %stage;
  my $record;
  while (sysread($fail_r, $record, 12) && length $record == 12) { my ($p, $s, $e) = unpack 'N N N', $record; $stage{$p} = [$s, $e] }
  my $why = delete $stage{$pid} or return 0;
  failed($id, $why->[0] == 1 ? 'cwd' : 'exec', $why->[1]) unless $job{$id}{forgotten};
  drop($id);
  delete $job{$id};
  return 1;
}
RARE

push @RARE, <<'RARE';
# The link, and the pipes of commands, when they are let go.
# So many bytes of what was said need not be kept.
sub acknowledge {
  $acked = $_[0];
  while ($next > 0 && $base + length $chunks[0] <= $_[0]) { $base += length shift @chunks; $next-- }
}

sub lose_link {
  if (!$lease) { $ended = 1; return }
  open STDIN, '<', '/dev/null';
  open STDOUT, '>', '/dev/null';
  open STDERR, '>', '/dev/null';
  close $IN if $IN && fileno $IN > 2;
  ($IN, $OUT, $in, $greet, $lin, $fresh, $lost) = (undef, undef, '', '', '', 0, 1);
}

sub drop {
  my $id = shift;
  my $j = $job{$id} or return;
  close_input($id) if $j->{in};
  for my $key ('out', 'err') { unwatch($id, $key) if $j->{$key} }
}
RARE

push @RARE, <<'RARE';
# Signals, and trees: the group and the session of a command, whatever carries its mark in CAHIER_PROC, and all their descendants.

# All living processes but this one: [pid, parent, group, session, marks]. Requests that came together share one look.
sub look {
  return if @scan;
  my $proc;
  if (!-r '/proc/self/stat' || !opendir $proc, '/proc') {
    for (`ps -A -o pid= -o ppid= -o pgid= -o stat=`) {
      my ($pid, $parent, $group, $state) = split;
      push @scan, [$pid, $parent, $group, 0, ''] unless $state =~ /^Z/ || $pid == $$;
    }
    return;
  }
  local $/;
  for my $pid (readdir $proc) {
    next if $pid !~ /^\d+\z/ || $pid == $$;
    open my $file, '<', "/proc/$pid/stat" or next;
    my $stat = <$file>;
    next unless defined $stat && $stat =~ /^.*\) (\S) (\d+) (\d+) (\d+)/s && $1 ne 'Z' && $1 ne 'X';
    my @entry = ($pid, $2, $3, $4, '');
    if (open my $environ, '<', "/proc/$pid/environ") {
      my $text = <$environ>;
      $entry[4] = " $1 " if defined $text && "\0$text" =~ /\0CAHIER_PROC=([^\0]*)/;
    }
    push @scan, \@entry;
  }
}

sub tree_of {
  my $j = shift;
  my $root = $j->{pid};
  # The number of one that was waited for may belong to a stranger by now.
  $root = -1 if !exists $id_of{$root} && grep { $_->[0] == $root } @scan;
  my %member;
  for (@scan) {
    $member{$_->[0]} = $_ if $_->[0] == $root || $_->[2] == $root || $_->[3] == $root || length $j->{marker} && index($_->[4], " $j->{marker} ") >= 0;
  }
  for (my $grew = %member ? 1 : 0; $grew;) {
    $grew = 0;
    for (@scan) { if ($member{$_->[1]} && !$member{$_->[0]}) { $member{$_->[0]} = $_; $grew = 1 } }
  }
  return values %member;
}

# Just after the fork there is no group yet, only its leader to be.
sub signal_group {
  my ($id, $name) = @_;
  my $pid = $job{$id} ? $job{$id}{pid} : return;
  return unless exists $id_of{$pid};
  kill $name, -$pid or kill $name, $pid;
}

sub signal_tree {
  my ($id, $name) = @_;
  my $j = $job{$id} or return;
  # Who left the group is looked up first: once a parent is dead, the link to its children is lost.
  look();
  my @members = tree_of($j);
  signal_group($id, $name);
  my $signalled = exists $id_of{$j->{pid}} ? $j->{pid} : 0;
  kill $name, grep { $_ } map { $_->[2] == $signalled || $_->[0] == $signalled ? 0 : $_->[0] } @members;
}

sub tell_tree {
  my $id = shift;
  my $j = $job{$id};
  look() if $j;
  say_frame('T', $id, $j ? join ' ', sort { $a <=> $b } map { $_->[0] } tree_of($j) : '');
}

# The end of everything that is not detached.
sub end_all {
  close $job{$_->[0]}{$_->[1]} for values %reader;
  for (values %job) { close $_->{in} if $_->{in} }
  for (keys %job) { delete $job{$_} if $job{$_}{detach} }
  my %told;
  for (my $until = now() + $grace; %job;) {
    @scan = ();
    look();
    my %alive = map { $_->[0] => 1 } map { tree_of($_) } values %job;
    last if !%alive;
    my $over = now() - $until;
    if ($over > 0) {
      # Again, until nobody is left: they die when they are next run, and may have forked before.
      kill 'KILL', keys %alive;
      last if $over > 3;
    } else {
      my @new = grep { !$told{$_}++ } keys %alive;
      kill 'TERM', @new;
      # A stopped process would sleep through the request.
      kill 'CONT', @new;
    }
    while ((my $pid = waitpid -1, 1) > 0) { delete $id_of{$pid} }
    select undef, undef, undef, $over > 0 ? 0.01 : 0.05;
  }
}
RARE

push @RARE, <<'RARE';
# Taking up again over a new link.
use Socket ();

sub take_up {
  $take_up = 0;
  lose_link();
  leave();
  my @is = mkdir($directory, 0700) ? () : lstat $directory;
  # A folder that somebody else made is none for us.
  return if @is && !(-d _ && $is[4] == $> && !($is[2] & 077));
  socket my $socket, Socket::PF_UNIX(), Socket::SOCK_STREAM(), 0 or return;
  bind $socket, Socket::pack_sockaddr_un("$directory/link") or return;
  listen $socket, 1 or return;
  $listen = $socket;
  vec($lin, fileno $listen, 1) = 1;
}

sub take_link {
  accept my $socket, $listen or return;
  leave();
  fcntl $socket, 4, $NONBLOCK | (fcntl($socket, 3, 0) || 0);
  ($IN, $OUT, $in, $fresh, $lost, $lin) = ($socket, $socket, '', 1, 0, '');
  vec($lin, fileno $socket, 1) = 1;
  $heard = now();
}

# False when what is asked for was given away.
sub taken_up {
  my $offset = shift;
  return 0 if $offset !~ /^\d+\z/ || $offset < $base || $offset > $end;
  ($next, $at) = (scalar @chunks, 0);
  acknowledge($offset);
  ($next, $at, $fresh) = (0, $offset - $base, 0);
  greet();
  return 1;
}

sub leave {
  close $listen if $listen;
  $listen = undef;
  unlink "$directory/link";
  rmdir $directory;
}
RARE

push @RARE, <<'RARE';
# Systems whose numbers are not known here.
require POSIX;
our $HZ = POSIX::sysconf(POSIX::_SC_CLK_TCK()) || 100;

sub ask_posix {
  ($NONBLOCK, $EAGAIN) = (POSIX::O_NONBLOCK(), POSIX::EAGAIN());
}

sub slow_now { return (POSIX::times())[0] / $HZ }
RARE

push @RARE, <<'RARE';
# Jobs of the local scheduler. The signals and the files of the wrapper want POSIX.
require POSIX;
our $NO_SIGNAL = POSIX::SigSet->new;
our $JOB_SIGNALS = POSIX::SigSet->new(POSIX::SIGTERM(), POSIX::SIGINT(), POSIX::SIGUSR1(), POSIX::SIGCHLD(), POSIX::SIGALRM());
our $NEW_FILE = POSIX::O_WRONLY() | POSIX::O_CREAT() | POSIX::O_EXCL();
our $ANY_FILE = POSIX::O_WRONLY() | POSIX::O_CREAT() | POSIX::O_TRUNC();
our $NULL = fileno $null;
our $LAST_OWN = (sort { $a <=> $b } $NULL, fileno $fail_r, fileno $fail_w)[-1];
our $HOST = (POSIX::uname())[1];
our $BOOT = slurp('/proc/sys/kernel/random/boot_id') || '';
$BOOT =~ s/\s//g;

sub start_job {
  my ($id, $payload) = @_;
  my %field = (n => 1, g => 10, e => [], u => [], v => []);
  my @fields = unpack '(a N/a*)*', $payload;
  while (@fields) {
    my $key = shift @fields;
    if (ref $field{$key}) { push @{$field{$key}}, shift @fields } else { $field{$key} = shift @fields }
  }
  # Signals that come before the child is ready for them wait.
  POSIX::sigprocmask(POSIX::SIG_BLOCK(), $JOB_SIGNALS);
  my $pid = fork;
  if (defined $pid && $pid == 0) {
    eval { play_wrapper(\%field) };
    POSIX::_exit(70);
  }
  my $errno = $!;
  POSIX::sigprocmask(POSIX::SIG_SETMASK(), $NO_SIGNAL);
  return failed($id, 'fork', $errno) unless defined $pid;
  $job{$id} = { pid => $pid, open => 0, detach => 1, marker => '', job => 1 };
  $id_of{$pid} = $id;
  say_frame('S', $id, $pid);
}

# The job wrapper: the same steps in the same order as the shell program in job-wrapper.ts, which says why. One table of tests
# holds for both. What only batch systems want (announcements, names for the output, manifests) is not here. No file handles of perl's own here: it counts the descriptors that were closed under it as open.
sub play_wrapper {
  my $j = shift;
  POSIX::setsid();
  my ($why, $told, $late) = ('', 0, 0);
  $SIG{PIPE} = $SIG{HUP} = 'DEFAULT';
  $SIG{TERM} = $SIG{INT} = sub { $why ||= 'canceled' };
  $SIG{USR1} = sub { $why ||= 'timeout' };
  $SIG{CHLD} = sub { };
  $SIG{ALRM} = sub { $late = 1 };
  POSIX::dup2($NULL, $_) for 0 .. 2;
  POSIX::close($_) for 3 .. $LAST_OWN, keys %reader, map { $_->{in} ? fileno $_->{in} : () } values %job;
  $0 = "cahier job $j->{t}";

  chdir $j->{d} or POSIX::_exit(125);
  POSIX::_exit(0) if -f 'exit.json' && !requeued($j->{n});
  $j->{up0} = hundredths();
  delete $ENV{$_} for @{$j->{u}};
  set_variables($j->{e});
  my $began = delete $ENV{CAHIER_STARTED_AT};
  my $host = delete $ENV{CAHIER_HOST};
  $began = time unless defined $began && $began =~ /^[0-9]+(?:\.[0-9]*)?\z/;
  $host = $HOST unless defined $host && length $host;
  $host = 'unknown' unless $host =~ /^[A-Za-z0-9._-]+\z/;
  my ($seconds, $part) = split /\./, $began;
  $j->{seconds} = $seconds;
  $j->{part} = substr +(defined $part ? $part : '') . '00', 0, 2;
  $j->{host} = $host;
  my $marker = $j->{marker} = $j->{n} == 1 ? 'running' : "running.$j->{n}";
  put($marker, $NEW_FILE, "$$ $began $host" . birth() . "\n") or POSIX::_exit(111);
  if (-e 'given-up' || -f 'exit.json' && !requeued($j->{n})) {
    unlink $marker;
    POSIX::_exit(111);
  }
  if ($j->{n} > 1) {
    my $last = $j->{n} - 1;
    rename 'exit.json', "exit.$last.json" if -f 'exit.json';
    rename $_, "$_.$last" for 'stdout', 'stderr';
  }
  record($j, 127, 'not-started') unless -x 'job.sh';
  my $out = POSIX::open('stdout', $ANY_FILE, 0666);
  my $err = defined $out ? POSIX::open('stderr', $ANY_FILE, 0666) : undef;
  record($j, 126, 'not-started') unless defined $err;
  # As a shell leaves them after cd.
  $ENV{PWD} = $j->{d};
  $ENV{OLDPWD} = '/';
  $ENV{CAHIER_TAG} = $j->{t};
  $ENV{CAHIER_START} = $j->{n};
  set_variables($j->{v});
  POSIX::sigprocmask(POSIX::SIG_SETMASK(), $NO_SIGNAL);
  POSIX::sigprocmask(POSIX::SIG_BLOCK(), $JOB_SIGNALS);
  record($j, 143, $why) if $why;

  my $child;
  for my $pause (1, 2, 4, 8, 0) {
    $child = fork;
    last if defined $child || !$pause;
    sleep $pause;
  }
  record($j, 126, 'not-started') unless defined $child;
  become_script($out, $err) if $child == 0;
  POSIX::close($out);
  POSIX::close($err);
  my $reason = 'exited';
  until (waitpid($child, POSIX::WNOHANG()) == $child) {
    if ($late) { $late = 0; kill 'KILL', $child }
    # Nothing is lost between the look and the wait: signals come in here, and only here.
    POSIX::sigsuspend($NO_SIGNAL);
    if ($why && !$told) {
      $told = 1;
      $reason = $why;
      $reason = 'timeout' if defined $j->{w} && hundredths() - $j->{up0} >= $j->{w} * 100;
      kill 'TERM', -$$ or kill 'TERM', $child;
      alarm $j->{g};
    }
  }
  record($j, $? & 127 ? 128 + ($? & 127) : $? >> 8, $reason);
}

# The record is of an earlier start, which was told to end.
sub requeued {
  my $n = shift;
  return 0 unless $n > 1;
  my $text = slurp('exit.json');
  return defined $text && $text !~ /"start":$n\}/ && $text =~ /"reason":"(?:canceled|timeout)"/;
}

# INT and QUIT are ignored, as in what a shell starts in the background.
sub become_script {
  POSIX::dup2($_[0], 1);
  POSIX::dup2($_[1], 2);
  POSIX::close($_) for @_;
  $SIG{$_} = 'DEFAULT' for qw(TERM USR1 CHLD ALRM);
  $SIG{$_} = 'IGNORE' for qw(INT QUIT);
  POSIX::sigprocmask(POSIX::SIG_SETMASK(), $NO_SIGNAL);
  # Somebody's fork may hold a script that was just written open for a moment more.
  for my $try (1 .. 50) {
    { no warnings; exec { './job.sh' } './job.sh' }
    last unless $! == POSIX::ETXTBSY();
    select undef, undef, undef, 0.02;
  }
  my $missing = $! == POSIX::ENOENT() || $! == POSIX::ENOTDIR();
  my $text = "cahier: ./job.sh: $!\n";
  POSIX::write(2, $text, length $text);
  POSIX::_exit($missing ? 127 : 126);
}

# Leaves the exit record and ends. A full disk is waited for.
sub record {
  my ($j, $code, $reason) = @_;
  my $total = $j->{seconds} * 100 + $j->{part} + hundredths() - $j->{up0};
  my $text = sprintf '{"version":1,"tag":"%s","exitCode":%d,"reason":"%s","startedAt":%s.%s,"endedAt":%d.%02d,"host":"%s","start":%d}' . "\n",
    $j->{t}, $code, $reason, $j->{seconds}, $j->{part}, $total / 100, $total % 100, $j->{host}, $j->{n};
  for (my $pause = 1; ; $pause *= 2) {
    last if put($j->{marker}, $ANY_FILE, $text) && move_to_record($j->{marker});
    POSIX::_exit(74) if $pause > 64;
    sleep $pause;
  }
  POSIX::_exit($code);
}

# A job may have made a folder of that name: mv puts the file into it.
sub move_to_record {
  my $marker = shift;
  return rename($marker, 'exit.json') || -d 'exit.json' && rename $marker, "exit.json/$marker";
}

# True when all of the text is in the file.
sub put {
  my ($file, $mode, $text) = @_;
  my $fd = POSIX::open($file, $mode, 0666);
  return 0 unless defined $fd;
  my $n = POSIX::write($fd, $text, length $text);
  return POSIX::close($fd) && defined $n && $n == length $text;
}

sub slurp {
  my $fd = POSIX::open($_[0], POSIX::O_RDONLY());
  return undef unless defined $fd;
  my $text;
  my $n = POSIX::read($fd, $text, 4096);
  POSIX::close($fd);
  return $n ? $text : undef;
}

# Hundredths of a second since the machine was started, sleep included.
sub hundredths {
  my $text = slurp('/proc/uptime');
  return "$1$2" + 0 if defined $text && $text =~ /^([0-9]+)\.([0-9][0-9]) /;
  return int(now() * 100);
}

# Tells this process from a later one of the same number: when it was started, in ticks since which boot.
sub birth {
  my $text = slurp('/proc/self/stat');
  return '' unless length $BOOT && defined $text && $text =~ /^.*\) (.*)/s;
  return ' ' . (split / /, $1)[19] . " $BOOT";
}
RARE

know_system();
$heard = now();
if ($lease) {
  $directory = defined $ENV{TMPDIR} && $ENV{TMPDIR} =~ m{^/[\w./-]{1,60}\z} ? $ENV{TMPDIR} : '/tmp';
  $directory .= "/cahier-$token";
}

# A signal that is caught, not ignored, means again what it means by default in a program that a child becomes.
$SIG{PIPE} = sub { };
$SIG{CHLD} = sub { $chld = 1 };
# In a child that has not yet become its program, a signal means what it means by default.
our $self = $$;
sub on_signal {
  my ($name, $what) = @_;
  $SIG{$name} = sub { if ($$ == $self) { $$what = 1 } else { $SIG{$name} = 'DEFAULT'; kill $name, $$ } };
}
on_signal($_, \$ended) for qw(TERM INT);
if ($lease) { $SIG{HUP} = sub { }; on_signal('USR1', \$take_up) } else { on_signal('HUP', \$ended) }
fcntl $_, 4, $NONBLOCK | (fcntl($_, 3, 0) || 0) for $IN, $OUT;
open $null, '+<', '/dev/null' or die "cannot open /dev/null: $!\n";
pipe $fail_r, $fail_w or die "cannot make a pipe: $!\n";
fcntl $fail_r, 4, $NONBLOCK;
vec($lin, 0, 1) = 1;
greet();
flush_out();

$pause = $lease ? ($lease < 4 ? $lease / 4 : 1) : undef;
until ($ended) {
  my $full = $end - $base >= $MOST;
  my $r = $full ? $lin : $lin | $rin;
  my $w = $win;
  vec($w, fileno $OUT, 1) = 1 if $OUT && !$fresh && ($next < @chunks || length $greet);
  # A signal that comes just before select is seen when the time ends.
  my $n = select $r, $w, undef, $chld ? 0 : %id_of ? 0.1 : $pause;
  if ($n > 0) {
    take_link() if $listen && vec $r, fileno $listen, 1;
    read_requests() if $IN && vec $r, fileno $IN, 1;
    my @ready = grep { vec $r, $_, 1 } keys %reader;
    # Each time another one is first, because the last ones may find no room.
    push @ready, splice @ready, 0, $turn++ % @ready if @ready > 1;
    for my $fd (@ready) { last if $end - $base >= $MOST; read_output($fd) }
    for my $fd (keys %writer) { write_input($writer{$fd}) if vec $w, $fd, 1 }
  }
  reap() if $chld || @late || $n <= 0;
  flush_out();
  if ($lease) {
    take_up() if $take_up;
    last if now() - $heard > $lease || $lost && !$listen && !%job && $acked >= $owed;
  }
}
end_all() if %job;
leave() if $lease && -d $directory;
exit 0;

