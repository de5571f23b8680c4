#!/usr/bin/perl
# The runner of Cahier: starts commands on request, frames what they print, says how they ended.
# One file, no module beyond perl's own core, perl 5.8 or later.
#
#   perl runner.pl [lease-seconds [grace-seconds]]
#
# Requests, on standard input: length of the payload (32 bits, big endian), type (1 byte), id (32 bits), payload.
#   s  start: fields of key (1 byte), length (32 bits), bytes:
#      a argument  d working directory  e NAME=VALUE  u name to unset  t text for stdin  p stdin is a pipe
#      o stdout file  r stderr file  A append to them  D detached: goes on when the runner ends
#   j  job: what the wrapper script of job-wrapper.ts does, done here. Fields: d directory  e, u as above  v NAME=VALUE for the
#      script only  t tag  n number of the start  w walltime in seconds  g grace in seconds. Always detached, no output.
#   k  signal, by name, for the process group      w  text for stdin      c  close stdin
#   d  drop: close the pipes, nobody reads them    p  sign of life, answered with P
# Answers, on standard output: a line "type id length", then so many bytes.
#   H  hello: "protocol-version perl pid"          P  sign of life
#   S  started: pid                                F  did not start: "stage code text"
#   O E  output, error output                      X  ended: "exit-code signal streams-still-open"
#   z  one of those streams ended                  W  bytes of stdin accepted     B  nobody reads stdin any more
# When standard input ends, or nothing comes for as long as the lease says, what is not detached is ended:
# SIGTERM, the grace, SIGKILL, on the group and on whatever carries the same CAHIER_PROC in its environment.
use strict;
use POSIX ();

my $VERSION = 1;
my $lease = @ARGV ? shift @ARGV : 0;
my $grace = @ARGV ? shift @ARGV : 5;
my $MOST_QUEUED = 1 << 20;

my %job;       # id => { pid, in, inq, out, err, detach, marker }
my %id_of;     # pid => id
my %reader;    # descriptor => [id, key of the handle, frame type]
my %writer;    # descriptor => id
my ($rin, $win, $in, $out, $ended, $chld) = ('', '', '', '', 0, 0);
my $HZ = POSIX::sysconf(POSIX::_SC_CLK_TCK()) || 100;
my $heard = now();

binmode STDIN; binmode STDOUT;
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { $chld = 1 };
# In a child that has not yet become its program, a signal means what it means by default.
my $self = $$;
$SIG{$_} = sub { my $name = shift; if ($$ == $self) { $ended = 1 } else { $SIG{$name} = 'DEFAULT'; kill $name, $$ } } for qw(TERM HUP INT);
nonblock(\*STDIN); nonblock(\*STDOUT);
open my $null, '+<', '/dev/null' or die "cannot open /dev/null: $!\n";
pipe my $fail_r, my $fail_w or die "cannot make a pipe: $!\n";
nonblock($fail_r);
my $NULL = fileno $null;
my $LAST_OWN = (sort { $a <=> $b } $NULL, fileno $fail_r, fileno $fail_w)[-1];
# What jobs need, worked out once.
my $NO_SIGNAL = POSIX::SigSet->new;
my $JOB_SIGNALS = POSIX::SigSet->new(POSIX::SIGTERM(), POSIX::SIGINT(), POSIX::SIGUSR1(), POSIX::SIGCHLD(), POSIX::SIGALRM());
my $NEW_FILE = POSIX::O_WRONLY() | POSIX::O_CREAT() | POSIX::O_EXCL();
my $ANY_FILE = POSIX::O_WRONLY() | POSIX::O_CREAT() | POSIX::O_TRUNC();
my $HOST = (POSIX::uname())[1];
my $BOOT = slurp('/proc/sys/kernel/random/boot_id') || '';
$BOOT =~ s/\s//g;
vec($rin, 0, 1) = 1;
say_frame('H', 0, "$VERSION perl $$");

until ($ended) {
  my $full = length($out) > $MOST_QUEUED;
  my $r = $full ? stdin_only() : $rin;
  my $w = $win;
  vec($w, 1, 1) = 1 if length $out;
  # A signal that comes just before select is seen when the time ends.
  my $n = select $r, $w, undef, $chld ? 0 : %id_of || $lease ? 0.1 : undef;
  if ($n > 0) {
    read_requests() if vec($r, 0, 1);
    for my $fd (keys %reader) { read_output($fd) if vec($r, $fd, 1) }
    for my $fd (keys %writer) { write_input($writer{$fd}) if vec($w, $fd, 1) }
  }
  reap() if $chld || $n <= 0;
  flush_out();
  last if $lease && now() - $heard > $lease;
}
end_all();
exit 0;

# Seconds on a clock that nobody sets.
sub now { return (POSIX::times())[0] / $HZ }

sub stdin_only { my $v = ''; vec($v, 0, 1) = 1; return $v }

sub nonblock {
  my $h = shift;
  my $flags = fcntl($h, POSIX::F_GETFL(), 0);
  fcntl($h, POSIX::F_SETFL(), ($flags || 0) | POSIX::O_NONBLOCK());
}

sub say_frame { $out .= "$_[0] $_[1] " . length($_[2]) . "\n" . $_[2] }

sub flush_out {
  return unless length $out;
  my $n = syswrite STDOUT, $out;
  if (defined $n) { substr($out, 0, $n) = '' }
  elsif ($! != POSIX::EAGAIN() && $! != POSIX::EINTR()) { $ended = 1 }
}

sub read_requests {
  my $n = sysread STDIN, $in, 262144, length $in;
  if (!defined $n) { $ended = 1 unless $! == POSIX::EAGAIN() || $! == POSIX::EINTR(); return }
  if ($n == 0) { $ended = 1; return }
  $heard = now();
  my $at = 0;
  my $have = length $in;
  while ($have - $at >= 9) {
    my ($len, $type, $id) = unpack 'N a N', substr $in, $at, 9;
    last if $have - $at - 9 < $len;
    my $payload = substr $in, $at + 9, $len;
    $at += 9 + $len;
    if    ($type eq 's') { start($id, $payload); reap() if $chld }
    elsif ($type eq 'j') { start_job($id, $payload); reap() if $chld }
    elsif ($type eq 'k') { signal_group($id, $payload) }
    elsif ($type eq 'w') { my $j = $job{$id}; if ($j && $j->{in}) { $j->{inq} .= $payload; write_input($id) } else { say_frame('B', $id, '') } }
    elsif ($type eq 'c') { my $j = $job{$id}; if ($j) { $j->{close} = 1; close_input($id) unless length $j->{inq} } }
    elsif ($type eq 'd') { drop($id) }
    elsif ($type eq 'p') { say_frame('P', 0, '') }
  }
  substr($in, 0, $at) = '' if $at;
}

# Just after the fork there is no group yet, only its leader to be.
sub signal_group {
  my ($id, $name) = @_;
  my $pid = $job{$id} ? $job{$id}{pid} : return;
  return unless exists $id_of{$pid};
  kill $name, -$pid or kill $name, $pid;
}

sub code_of {
  my $errno = 0 + shift;
  for my $name (qw(ENOENT EACCES E2BIG EMFILE ENFILE EAGAIN ENOMEM ENOEXEC EPERM ENOTDIR ENOSPC EROFS EISDIR ETXTBSY ELOOP ENAMETOOLONG EIO)) {
    no strict 'refs';
    return $name if $errno == &{"POSIX::$name"}();
  }
  return "ERRNO$errno";
}

sub failed {
  my ($id, $stage, $errno) = @_;
  $! = $errno;
  say_frame('F', $id, "$stage " . code_of($errno) . " $!");
}

sub start {
  my ($id, $payload) = @_;
  my (@argv, @set, @unset, $dir, $text, $pipe, $file_o, $file_e, $append, $detach);
  my $marker = '';
  my @fields = unpack '(a N/a*)*', $payload;
  while (@fields) {
    my $key = shift @fields;
    my $value = shift @fields;
    if    ($key eq 'a') { push @argv, $value }
    elsif ($key eq 'e') { push @set, $value; $marker = $1 if $value =~ /^CAHIER_PROC=(?:.* )?(\S+)$/s }
    elsif ($key eq 'u') { push @unset, $value }
    elsif ($key eq 'd') { $dir = $value }
    elsif ($key eq 't') { $text = $value }
    elsif ($key eq 'p') { $pipe = 1 }
    elsif ($key eq 'o') { $file_o = $value }
    elsif ($key eq 'r') { $file_e = $value }
    elsif ($key eq 'A') { $append = 1 }
    elsif ($key eq 'D') { $detach = 1 }
  }
  my ($or, $ow, $er, $ew, $ir, $iw);
  if (defined $file_o) {
    my $mode = POSIX::O_WRONLY() | POSIX::O_CREAT() | ($append ? POSIX::O_APPEND() : POSIX::O_TRUNC());
    sysopen $ow, $file_o, $mode, 0666 or return failed($id, 'stdout', $!);
    if ($file_e eq $file_o) { $ew = $ow } else { sysopen $ew, $file_e, $mode, 0666 or return failed($id, 'stderr', $!) }
  } else {
    pipe $or, $ow or return failed($id, 'pipe', $!);
    pipe $er, $ew or return failed($id, 'pipe', $!);
  }
  if ($pipe || defined $text) {
    pipe $ir, $iw or return failed($id, 'pipe', $!);
  }

  my $pid = fork;
  return failed($id, 'fork', $!) unless defined $pid;
  if ($pid == 0) {
    POSIX::setsid();
    POSIX::dup2($ir ? fileno $ir : $NULL, 0);
    POSIX::dup2(fileno $ow, 1);
    POSIX::dup2(fileno $ew, 2);
    $SIG{$_} = 'DEFAULT' for qw(PIPE CHLD TERM HUP INT);
    if (defined $dir && !chdir $dir) { child_failed(1, $!) }
    delete $ENV{$_} for @unset;
    set_variables(\@set);
    { no warnings; exec { $argv[0] } @argv; }
    child_failed(2, $!);
  }

  my $j = $job{$id} = { pid => $pid, open => 0, detach => $detach, marker => $marker, inq => '' };
  $id_of{$pid} = $id;
  if ($or) { watch($id, 'out', $or, 'O'); watch($id, 'err', $er, 'E') }
  if ($iw) {
    nonblock($iw);
    $j->{in} = $iw;
    if (defined $text) { $j->{inq} = $text; $j->{close} = 1; $j->{quiet} = 1; length $text ? write_input($id) : close_input($id) }
  }
  say_frame('S', $id, $pid);
}

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
  $job{$id} = { pid => $pid, open => 0, detach => 1, marker => '', inq => '' };
  $id_of{$pid} = $id;
  say_frame('S', $id, $pid);
}

# The job wrapper: the same steps in the same order as the shell program in job-wrapper.ts, which says why. One table of tests
# holds for both. No file handles of perl's own here: it counts the descriptors that were closed under it as open.
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
  POSIX::_exit(0) if -f 'exit.json';
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
  if (-f 'exit.json') {
    unlink $marker;
    POSIX::_exit(111);
  }
  if ($j->{n} > 1) { rename $_, $_ . '.' . ($j->{n} - 1) for 'stdout', 'stderr' }
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

sub set_variables {
  for (@{$_[0]}) { my $cut = index $_, '='; $ENV{substr $_, 0, $cut} = substr $_, $cut + 1 }
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

sub child_failed {
  my ($stage, $errno) = @_;
  syswrite $fail_w, pack 'N N N', $$, $stage, 0 + $errno;
  POSIX::_exit(127);
}

sub watch {
  my ($id, $key, $handle, $type) = @_;
  nonblock($handle);
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
  my ($id, $key, $type) = @$entry;
  my $n = sysread $job{$id}{$key}, my $buffer, 65536;
  if ($n) { say_frame($type, $id, $buffer); return 1 }
  return 0 if !defined $n && ($! == POSIX::EAGAIN() || $! == POSIX::EINTR());
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
  if ($j->{gone}) { say_frame('z', $id, ''); forget($id) }
}

sub write_input {
  my $id = shift;
  my $j = $job{$id} or return;
  my $h = $j->{in} or return;
  my $fd = fileno $h;
  my $n = syswrite $h, $j->{inq}, 65536;
  if (!defined $n) {
    if ($! != POSIX::EAGAIN() && $! != POSIX::EINTR()) {
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

sub drop {
  my $id = shift;
  return unless $job{$id};
  close_input($id);
  for my $key ('out', 'err') { unwatch($id, $key) if $job{$id} && $job{$id}{$key} }
}

sub forget {
  my $id = shift;
  my $j = $job{$id};
  return if $j->{open} > 0 || !$j->{gone};
  close_input($id);
  delete $job{$id};
}

sub reap {
  $chld = 0;
  my %stage;
  while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
    my $status = $?;
    my $id = delete $id_of{$pid};
    next unless defined $id;
    my $j = $job{$id};
    for my $key ('out', 'err') {
      next unless $j->{$key};
      my $fd = fileno $j->{$key};
      # What the process itself wrote fits in the pipe; more comes from others, and in its turn.
      my $rounds = 0;
      while ($rounds++ < 17 && read_output($fd)) { }
    }
    if ($status >> 8 == 127) {
      my $record;
      while (sysread($fail_r, $record, 12) && length $record == 12) { my ($p, $s, $e) = unpack 'N N N', $record; $stage{$p} = [$s, $e] }
      if (my $why = delete $stage{$pid}) {
        failed($id, $why->[0] == 1 ? 'cwd' : 'exec', $why->[1]);
        delete $j->{gone};
        drop($id);
        delete $job{$id};
        next;
      }
    }
    $j->{gone} = 1;
    say_frame('X', $id, ($status >> 8) . ' ' . ($status & 127) . ' ' . $j->{open});
    forget($id);
  }
}

sub end_all {
  for (values %reader) { my ($id, $key) = @$_; close $job{$id}{$key} if $job{$id}{$key} }
  for (values %job) { close $_->{in} if $_->{in} }
  my %marker;
  for my $id (values %id_of) { $marker{$job{$id}{marker}} = $job{$id}{pid} unless $job{$id}{detach} }
  delete $marker{''};
  my @pids = grep { !$job{$id_of{$_}}{detach} } keys %id_of;
  my @strays = strays(\%marker);
  kill 'TERM', map({ -$_ } @pids), @strays;
  kill 'CONT', map { -$_ } @pids;
  my $until = now() + $grace;
  while (now() <= $until) {
    while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) { @pids = grep { $_ != $pid } @pids }
    last if !@pids && !strays(\%marker);
    select undef, undef, undef, 0.05;
  }
  @strays = strays(\%marker);
  kill 'KILL', map({ -$_ } @pids), @strays;
}

# Processes that left their group and still carry the mark of one of ours.
sub strays {
  my $marker = shift;
  return () unless %$marker;
  my @found;
  opendir my $proc, '/proc' or return ();
  for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $proc) {
    open my $file, '<', "/proc/$pid/environ" or next;
    local $/;
    my $environment = <$file>;
    next unless defined $environment && "\0$environment" =~ /\0CAHIER_PROC=([^\0]*)/;
    push @found, $pid if grep { exists $marker->{$_} } split / /, $1;
  }
  return @found;
}
