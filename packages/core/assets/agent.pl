#!/usr/bin/perl
# The agent of Cahier in Perl: looks after files on a host, and hands streams on from host to host. The protocols: docs/reference/chain.md;
# agent.py is the same in Python. One file, one process, no module beyond perl's own (5.10 or later).
#
#   perl agent.pl token
#
# Names are bytes all the way: no layer that knows of characters is ever used. Comment lines and indentation are stripped before the
# program is sent. It comes in parts, each of which begins at a line `# ---- part <name>` and is compiled when one of its subs is called first.
use strict;

our ($token) = @ARGV;

sub word {
  my $text = shift;
  return '%' unless defined $text && length $text;
  $text =~ s/([^A-Za-z0-9_.\/+,:@~^=-])/sprintf '%%%02X', ord $1/ge;
  return $text;
}

sub unword {
  my $word = shift;
  return '' if $word eq '%';
  $word =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
  return $word;
}

# Parts that were not needed so far; none when this file is run as it is.
our (@later, $AUTOLOAD);

# A sub, when there is one of that name; its part is compiled.
sub find_sub {
  my $name = shift;
  my $known = main->can($name);
  return $known if $known;
  my ($part) = grep { index($later[$_], "\nsub $name ") >= 0 } 0 .. $#later;
  if (defined $part) { eval splice @later, $part, 1; die $@ if $@ }
  return main->can($name);
}

sub AUTOLOAD {
  my ($name) = $AUTOLOAD =~ /(\w+)\z/;
  my $sub = do { local ($@, $!); find_sub($name) } or die "there is no $name";
  goto &$sub;
}

# Most of what a module takes to load is its half in Perl, of which nothing is used here: where the compiled half has all that is tried, it
# is loaded alone. XSLoader finds it beside the file that asks for it.
sub load_module {
  my ($module, $try) = @_;
  (my $file = "$module.pm") =~ s{::}{/}g;
  my ($folder) = grep { -f "$_/$file" } @INC;
  return if $try && defined $folder && eval { require XSLoader; eval qq{package $module;\n#line 1 "$folder/$file"\nXSLoader::load('$module'); 1} } && eval { $try->(); 1 };
  eval { require $file; 1 } or unfit("perl-without-$file");
}

# A line end comes first, so that noise without one cannot swallow what follows.
sub unfit { syswrite STDOUT, "\n$token unfit " . word($_[0]) . "\n"; exit 0 }
unfit('perl-without-64-bit-numbers') if ~0 <= 0xFFFFFFFF;
# Debian's perl-base has neither of the first two.
load_module('Digest::SHA', sub { Digest::SHA->newSHA(256) });
load_module('Time::HiRes', sub { Time::HiRes::clock_gettime((Time::HiRes::constant('CLOCK_MONOTONIC'))[1]) });
load_module('Socket', sub { Socket::inet_aton('127.0.0.1'), Socket::AF_UNIX(), Socket::SO_ERROR(), Socket::TCP_NODELAY() });
load_module('Fcntl', sub { Fcntl::O_CREAT(), Fcntl::O_NONBLOCK(), Fcntl::F_SETFL() });
load_module('Errno');

our $LEASE = 60;
our $PATIENCE = 10;
our $IN_THE_DOOR = 16;
our $HEADER = 44;
our $MOST_CHUNK = 64 << 20;
our $BUSY = 0.5;
# An agent on another host touches its lock when it is asked how it is, every 10 s, and has ended a minute after it was heard last.
our $FOREIGN = 75;
# So long its controller may take to answer when somebody asks for its parts, and so long who asks waits.
our $ANSWER = 6;
our $ASKING = 9;
# Who had no time to look for so long may have lost its parts meanwhile.
our $SLEPT = 20;
# So much of the stream is kept in memory for the next host.
our $WINDOW = 8 << 20;
our $PIECE = 1 << 20;

# Numbers of utimensat, statfs, newfstatat, which linux never changes.
our ($UTIMENSAT, $STATFS, $FSTATAT) = (0, 0, 0);
our $home = defined $ENV{HOME} && $ENV{HOME} =~ m{^/} ? $ENV{HOME} : (getpwuid $<)[7];
our ($in, $out, $heard, $ended) = ('', '', 0, 0);
our ($request, $key, $umask);
# When it was last said that a request takes long, or begun.
our $busy_told = 0;
# When it was last looked after the parts, by the clock that goes on while this host sleeps, and since when an answer is waited for.
our ($looked, $asked) = (time, 0);

# What lies where: the target, its parts, the manifest, and of each entry what was found.
our ($target, $parts, @kind, @mode, @time, @size, @name, @link, @found, %new_top, %linked, %final, %checked, $made_lock, $keeps_parts);
# The stream: entries in order, where each begins, how long it is, what of it is there, digests at the ends of its chunks.
our ($chunk, $total, $have, @order, @start, %streamed, $sha, $digests, $trusted, $whole, $told, $told_at, $failed);
# The entry that is written to: its place in @order, its file, how much it still wants.
our ($writing, $file, $wants, $is_new);
# What was read back last: place in @order and its file.
our ($read_at, $read_file);
# Frames that are still in memory, by offset, oldest first.
our (%frame, @frames, $in_memory);
# Links: by descriptor. The one that the stream comes on, the one that it goes on, who listens, and what epoch is the oldest to be taken.
our (%link, $up, $down, %listener, $expected);
$expected = 0;
our (@listed, %user_pid);

# The module says it also where only its compiled half is there.
our $MONOTONIC = (Time::HiRes::constant('CLOCK_MONOTONIC'))[1];

sub now { return Time::HiRes::clock_gettime($MONOTONIC) }

sub know_system {
  my $head = '';
  if ($^O eq 'linux' && open my $exe, '<', '/proc/self/exe') { sysread $exe, $head, 20 }
  my ($class, $machine) = unpack 'x4 H4 x12 H4', $head . "\0" x 20;
  my $calls = { '3e00' => [280, 137, 262], 'b700' => [88, 43, 79], 'f300' => [88, 43, 79] }->{$class eq '0201' ? $machine : ''};
  ($UTIMENSAT, $STATFS, $FSTATAT) = @$calls if $calls;
}

# ---- errors

sub fail { die [@_] }

# The code for what the system said, and its words.
sub code_of {
  my $errno = shift;
  return 'E_TARGET_FULL' if $errno == Errno::ENOSPC() || $errno == Errno::EDQUOT() || $errno == Errno::EFBIG();
  return 'E_TARGET_DENIED' if $errno == Errno::EACCES() || $errno == Errno::EPERM() || $errno == Errno::EROFS();
  return 'E_TARGET_KIND' if $errno == Errno::ENOTDIR() || $errno == Errno::EISDIR() || $errno == Errno::EEXIST() || $errno == Errno::ENOTEMPTY() || $errno == Errno::ELOOP();
  return 'E_TRANSFER';
}

sub fail_here { my $errno = $! + 0; my $text = "$!"; fail(code_of($errno), "$_[0]: $text") }

# What was thrown, as code and message.
sub thrown {
  my $error = shift;
  return @$error if ref $error eq 'ARRAY';
  $error =~ s/ at \S+ line \d+.*//s;
  return ('E_TRANSFER', $error);
}

# ---- requests and answers

sub say_line { $out .= "$_[0]\n" }

sub answer {
  my ($words, $payload) = @_;
  $out .= "$request ok" . (defined $words && length $words ? " $words" : '') . (defined $payload ? ' #' . length($payload) . "\n$payload" : "\n");
}

sub event { $out .= '! ' . join(' ', @_) . "\n" }

# Said in the middle of what takes long.
sub still_there {
  my $now = now();
  return if $now - $busy_told < $BUSY;
  $busy_told = $now;
  touch_lock();
  event('busy');
  flush_out();
  # Requests that come meanwhile are signs of life.
  my $n = sysread STDIN, $in, $PIECE, length $in;
  $heard = $now if $n;
  look_after_parts(1);
  fail('E_TARGET_BUSY', 'somebody else has asked for the parts, and nobody has answered') if $ended && $asked;
}

sub flush_out {
  while (length $out) {
    my $n = syswrite STDOUT, $out, 262144;
    if (!defined $n) {
      $ended = 1 unless $! == Errno::EAGAIN() || $! == Errno::EINTR();
      return;
    }
    substr($out, 0, $n) = '';
  }
}

sub read_requests {
  my $n = sysread STDIN, $in, $PIECE, length $in;
  if (!defined $n) {
    $ended = 1 unless $! == Errno::EAGAIN() || $! == Errno::EINTR();
    return;
  }
  return $ended = 1 if $n == 0;
  $heard = now();
  my $at = 0;
  while (!$ended && (my $end = index $in, "\n", $at) >= 0) {
    my $line = substr $in, $at, $end - $at;
    my $payload = '';
    if ($line =~ s/ #(\d+)$//) {
      my $bytes = $1;
      last if length($in) - $end - 1 < $bytes;
      $payload = substr $in, $end + 1, $bytes;
      $end += $bytes;
    }
    $at = $end + 1;
    my ($number, $verb, @words) = split / /, $line;
    next unless defined $verb;
    $request = $number;
    my $action = find_sub("on_$verb");
    $busy_told = now();
    next if $action && eval { $action->($payload, @words); 1 };
    my ($code, $message) = $action ? thrown($@) : ('E_ARGUMENT', "the agent does not know $verb");
    say_line("$request error $code " . word($message));
  }
  substr($in, 0, $at) = '' if $at;
  # Some of them took long.
  $heard = now();
}

sub on_ping { touch_lock(); answer() }
sub on_bye { answer(); $ended = 1 }
sub on_key { $_[1] =~ /^[0-9a-f]{64}\z/ or fail('E_ARGUMENT', 'this is no key'); $key = pack 'H*', $_[1]; answer() }

# ---- times and kinds

# Microseconds of the last change, as far as a double knows them. A time of ours is a whole number of them.
sub time_of { my $us = $_[0] * 1e6 + 0.25; my $whole = int $us; return $whole > $us ? $whole - 1 : $whole }

# Somebody else's time has more digits, which the one who listed it cut off.
sub same_time { my $more = $_[0] * 1e6 - $_[1]; return $more > -0.5 && $more < 1.25 }

# As lstat, or stat for what is to be followed, with the time as precise as can be.
sub look {
  my ($path, $follow) = @_;
  my @is = $follow ? Time::HiRes::stat($path) : defined &Time::HiRes::lstat ? Time::HiRes::lstat($path) : -l $path ? lstat $path : Time::HiRes::stat($path);
  # Times before 1970 are taken for ones without a sign there.
  if (@is && $is[9] > 1e15) {
    my $buffer = "\0" x 256;
    my ($seconds, $rest) = $FSTATAT && syscall($FSTATAT, -100, $path, $buffer, $follow ? 0 : 0x100) == 0 ? unpack 'x88 q2', $buffer : ($follow ? (stat $path)[9] : (lstat $path)[9], 0);
    $is[9] = $seconds + $rest / 1e9;
  }
  return @is;
}

# Of a file that is open, or of a path.
sub set_time {
  my ($file, $us, $is_link) = @_;
  if ($UTIMENSAT) {
    my $seconds = ($us - $us % 1000000) / 1000000;
    my $both = pack 'q4', ($seconds, $us % 1000000 * 1000) x 2;
    return syscall($UTIMENSAT, fileno $file, 0, $both, 0) == 0 if ref $file;
    return syscall($UTIMENSAT, -100, $file, $both, $is_link ? 0x100 : 0) == 0;
  }
  # Links have no time that perl could set by itself.
  return 1 if $is_link;
  # What is behind the last microsecond is cut off.
  # Whole seconds are exact.
  my $half = $us == 1e6 * int($us / 1e6) ? 0 : $us < 0 ? -0.5 : 0.5;
  my $time = ($us + $half) / 1e6;
  return defined &Time::HiRes::utime ? Time::HiRes::utime($time, $time, $file) : utime $time, $time, $file;
}

sub new_sha { return Digest::SHA->can('newSHA') ? Digest::SHA->newSHA(256) : Digest::SHA->new(256) }

sub digest_of {
  my $path = shift;
  open my $file, '<:unix', $path or return undef;
  my $sha = new_sha();
  my $buffer;
  while (1) {
    my $n = sysread $file, $buffer, $PIECE;
    return undef unless defined $n;
    last if $n == 0;
    $sha->add($buffer);
    still_there();
  }
  return $sha->hexdigest;
}

sub kind_name { return -d _ ? 'a directory' : -f _ ? 'a file' : -p _ ? 'a named pipe' : -S _ ? 'a socket' : 'a device' }

# In parts it goes on at the last one.
if (@later) { eval pop @later; die $@ if $@ }

# ---- part place

sub resolve {
  my $path = shift;
  if ($path eq '~' || $path eq '') { $path = $home } elsif ($path =~ s{^~/}{}) { $path = "$home/$path" } elsif ($path !~ m{^/}) { $path = "$home/$path" }
  my @kept;
  for (split m{/}, $path) { push @kept, $_ if length $_ && $_ ne '.' }
  return '/' . join '/', @kept;
}

sub make_directories {
  my $path = shift;
  my $at = '';
  for (split m{/}, substr $path, 1) {
    $at .= "/$_";
    next if -d $at || mkdir($at, 0777 & ~$umask) || -d $at;
    fail_here("cannot make $at");
  }
}

sub read_manifest {
  my $number = 0;
  (@kind, @mode, @time, @size, @name, @link) = ();
  for (split /\n/, $_[0]) {
    my ($kind, @words) = split / /;
    fail('E_ARGUMENT', "this line cannot be read: $_") unless @words == ({ f => 4, d => 3, l => 3 }->{$kind} || -1);
    my $mode = $kind eq 'l' ? 0777 : oct shift @words;
    my $time = shift @words;
    my $size = $kind eq 'f' ? shift @words : 0;
    my $name = unword(shift @words);
    $kind[$number] = $kind;
    $mode[$number] = $mode & 07777;
    $time[$number] = $time + 0;
    $size[$number] = $size + 0;
    $name[$number] = $name;
    $link[$number] = unword(shift @words) if $kind eq 'l';
    $number++;
  }
}

sub at { return $target eq '/' ? "/$name[$_[0]]" : "$target/$name[$_[0]]" }

# A tree that is not there yet is put together among the parts when it comes as a stream, and renamed as one.
sub part_of {
  my $index = shift;
  return at($index) if $final{$index};
  return "$parts/t/$name[$index]" if $streamed{$index} && $name[$index] =~ m{^([^/]+)/} && $new_top{$1};
  return "$parts/$index";
}

sub on_open {
  my ($manifest, $id, $flags, $directory) = @_;
  fail('E_ARGUMENT', 'there is a transfer open already') if $made_lock;
  $id =~ /^[\w-]+\z/ or fail('E_ARGUMENT', 'this is no name for parts');
  read_manifest($manifest);
  my $path = resolve(unword($directory));
  if (!-d $path) {
    fail('E_TARGET_KIND', "$path is no directory") if -e _ || -l $path;
    fail('E_TARGET_DENIED', "cannot enter $path: $!") if $! == Errno::EACCES();
    fail('E_TARGET_KIND', "a file is on the way to $path") if $! == Errno::ENOTDIR();
    fail('E_TARGET_MISSING', "there is no directory $path") unless $flags =~ /c/;
    make_directories($path);
  }
  close_place(1) if defined $target;
  ($target, $keeps_parts) = ($path, $flags =~ /r/ ? 1 : 0);
  eval {
    my $lines = survey($id, $flags);
    # Nobody holds it: it was not needed.
    $parts = undef unless $made_lock;
    answer(word($target) . ' ' . word(defined $parts ? $parts : '-'), $lines);
    1;
  } or do { my $error = $@; close_place(1); die $error };
}

sub survey {
  my ($id, $flags) = @_;
  my (%known, $needs);
  my $room = 0;
  # What was said of the directories of the list; in one that is not there nothing need be looked for.
  my %folder = ('' => 's');
  @found = %new_top = %linked = %final = %checked = ();
  for my $index (0 .. $#kind) {
    still_there() unless $index & 1023;
    my $name = $name[$index];
    my $above = $name =~ m{^(.*)/[^/]*\z}s ? $1 : '';
    my $inside = $folder{$above};
    my $state = 'n';
    if ("/$name/" =~ m{//|/\.\.?/|\0}) { $state = impossible('its name leads out of the target directory') }
    elsif ($known{$name}++) { $state = impossible('another file of the list has its name') }
    elsif ($name eq ".cahier-$id") { $state = impossible('its name is that of the folder in which files arrive') }
    elsif (!defined $inside) { $state = impossible('its directory is not in the list') }
    elsif ($inside ne 's') { $state = $inside }
    elsif (my @is = look(at($index))) { $state = compare($index, $flags, \@is) }
    elsif ($! != Errno::ENOENT()) { $state = 'x ' . code_of($! + 0) . ' ' . word(at($index) . ": $!") }
    if ($kind[$index] eq 'd') {
      $folder{$name} = $state;
      $new_top{$name} = 1 if $above eq '' && $state eq 'n';
    }
    $found[$index] = $state;
    $needs = 1 if $state =~ /^[nh]/;
  }
  if (!$needs) {
    # Who ended when all was placed has left its folder: nobody would ever come back to it.
    my $left = ($target eq '/' ? '' : $target) . "/.cahier-$id";
    close_parts(0) if (-l $left || -e _) && eval { open_parts($id, '', 0); 1 };
    return join '', map { "$_\n" } @found;
  }
  open_parts($id, $flags, 1);
  for my $index (0 .. $#kind) {
    next unless $kind[$index] eq 'f' && $found[$index] eq 'n';
    my $bytes = part_size($index);
    $found[$index] = "p $bytes" if $bytes > 0;
    $room += $size[$index] - $bytes;
    next if $bytes > 0 || $flags !~ /s/;
    lstat at($index);
    seed($index) if -f _;
  }
  check_room($room);
  return join '', map { "$_\n" } @found;
}

sub impossible { return 'x E_TARGET_KIND ' . word($_[0]) }

# What is there, against what is to be there.
sub compare {
  my ($index, $flags, $is) = @_;
  my $path = at($index);
  my $type = $is->[2] & 0170000;
  my $kind = $kind[$index];
  if ($kind eq 'd') {
    # What a link leads to is not ours to change.
    $linked{$name[$index]} = 1 if $type == 0120000 && -d $path;
    return 's' if $type == 0040000 || $linked{$name[$index]};
    return 'x E_TARGET_KIND ' . word("$path is there, and is no directory");
  }
  return 'x E_TARGET_KIND ' . word("$path is a directory") if $type == 0040000;
  if ($kind eq 'l') {
    my $to = $type == 0120000 ? readlink $path : undef;
    return defined $to && $to eq $link[$index] ? 's' : 'n';
  }
  return 'n' if $type != 0100000 || $is->[7] != $size[$index];
  if ($flags =~ /k/) { my $digest = digest_of($path); return defined $digest ? "h $digest" : 'n' }
  return same_time($is->[9], $time[$index]) ? 's' : 'n';
}

# Of an earlier transfer; one that is too long is none.
sub part_size {
  my $index = shift;
  my $bytes = -s "$parts/$index";
  return 0 unless defined $bytes;
  return $bytes if $bytes > 0 && -f _ && $bytes <= $size[$index];
  unlink "$parts/$index";
  return 0;
}

# Who does not send differences cannot go on with it.
sub seed {
  my $index = shift;
  my ($done, $buffer) = (0, '');
  open my $mark, '>:unix', "$parts/seeded";
  open my $from, '<:unix', at($index) or return 0;
  open my $to, '>:unix', "$parts/$index" or return 0;
  while ($done < $size[$index]) {
    my $n = sysread $from, $buffer, $size[$index] - $done < $PIECE ? $size[$index] - $done : $PIECE;
    last unless $n;
    my $written = syswrite $to, $buffer, $n;
    last unless defined $written && $written == $n;
    $done += $n;
    still_there();
  }
  close $to;
  return $done;
}

sub check_room {
  my $bytes = shift;
  my $free = room();
  fail('E_TARGET_FULL', "$bytes bytes are to come to $target, where $free are free") if defined $free && $free < $bytes;
}

sub room {
  if ($STATFS) {
    my $buffer = "\0" x 256;
    return undef if syscall($STATFS, $parts, $buffer) != 0;
    my ($block, $free) = (unpack 'q5', $buffer)[1, 4];
    return $block * $free;
  }
  open my $df, '-|', 'df', '-Pk', $parts or return undef;
  my @lines = <$df>;
  close $df;
  return @lines > 1 && $lines[-1] =~ /\s(\d+)\s+\d+%/ ? $1 * 1024 : undef;
}

# ---- the folder of parts

sub whole_text { open my $file, '<', $_[0] or return ''; my $text = ''; sysread $file, $text, 65536; return $text }

# When a process was started, in ticks since the boot; empty when there is none, or it has ended.
sub birth_of {
  return '' unless whole_text("/proc/$_[0]/stat") =~ /^.*\) (.*)/s;
  my @fields = split ' ', $1;
  return $fields[0] =~ /[ZX]/ ? '' : $fields[19];
}

sub host_name { my $name = whole_text('/proc/sys/kernel/hostname'); $name = `hostname` unless length $name; $name =~ s/\s+//g; return $name }

sub boot_id { my $text = whole_text('/proc/sys/kernel/random/boot_id'); $text =~ s/\s+//g; return length $text ? $text : '-' }

our @owner;

# Host, boot and space of this process: whose processes can be seen from here.
sub owner {
  @owner = (word(host_name()), boot_id(), readlink('/proc/self/ns/pid') || '-') unless @owner;
  return @owner;
}

sub own_lock { my ($host, $boot, $space) = owner(); return join(' ', $host, $boot, $$, length birth_of($$) ? birth_of($$) : '-', $space, 'answers') . "\n" }

# The process where it can be seen, else the age.
sub is_used {
  my @words = split ' ', $_[0];
  return sees(@words) ? runs(@words) : is_fresh();
}

sub sees { return @_ > 4 && $_[2] =~ /^\d+\z/ && "$_[0] $_[1] $_[4]" eq join ' ', owner() }

sub runs {
  my (undef, undef, $pid, $birth) = @_;
  return length birth_of($pid) && ($birth eq '-' || birth_of($pid) eq $birth) if length birth_of($$);
  return kill(0, $pid) || $! == Errno::EPERM();
}

# By the clock of whoever keeps the files.
sub is_fresh {
  my $mark = "$parts/lock.$$.now";
  open my $file, '>', $mark or return !$!{ENOENT};
  close $file;
  my @now = stat $mark;
  my @is = stat "$parts/lock";
  # It was let go a moment ago.
  my $is_gone = !@is && $!{ENOENT};
  unlink $mark;
  return !$is_gone && (!@now || !@is || $now[9] - $is[9] < $FOREIGN);
}

sub is_mine { return whole_text("$parts/lock") eq own_lock() }

sub busy {
  my ($host, undef, $pid, $birth) = split ' ', $_[0];
  my $who = defined $birth ? " (process $pid on " . unword($host) . ')' : '';
  fail('E_TARGET_BUSY', "another transfer of the same files into $target is under way$who");
}

sub take_lock {
  my $asks = shift;
  my $lock = "$parts/lock";
  my $own = "$parts/lock.$$";
  for my $try (1 .. 5) {
    # Whoever had the folder may have removed it.
    mkdir $parts, 0700;
    open my $file, '>:unix', $own or do { next if $!{ENOENT}; my $errno = $! + 0; rmdir $parts; $! = $errno; fail_here("cannot write in $parts") };
    my $text = own_lock();
    my $written = syswrite $file, $text;
    if (!defined $written || $written != length $text) { my $errno = $! + 0; unlink $own; rmdir $parts; $! = $errno; fail_here("cannot write in $parts") }
    close $file;
    if (link $own, $lock) { unlink $own; return $made_lock = 1 }
    # No hard links here.
    if (!$!{EEXIST} && !-e $lock && rename $own, $lock) { return $made_lock = 1 }
    unlink $own;
    my $known = whole_text($lock);
    if (is_used($known)) { outwait($known, $asks); next }
    # Two may find the same dead one: only one of them gets it out of the way.
    my $aside = "$parts/lock." . unpack 'H*', random_bytes(6);
    next unless rename $lock, $aside;
    my $is_same = whole_text($aside) eq $known;
    link $aside, $lock unless $is_same;
    unlink $aside;
    last unless $is_same;
  }
  fail('E_TARGET_BUSY', "another transfer of the same files into $target has just begun");
}

# Until a living holder has let go, which it does when nobody is at its other end.
sub outwait {
  my ($known, $asks) = @_;
  my @words = split ' ', $known;
  my $sign = "$parts/asked";
  busy($known) unless $asks && @words > 5 && $words[5] eq 'answers' && (open(my $file, '>', $sign) || $!{ENOENT});
  my $until = now() + $ASKING;
  my $unasked = 0;
  while (whole_text("$parts/lock") eq $known && (!sees(@words) || runs(@words))) {
    # Who removes the folder removes that first, perhaps.
    $unasked = !-e $sign && $!{ENOENT} ? $unasked + 1 : 0;
    busy($known) if $unasked > 3 || now() > $until;
    select undef, undef, undef, 0.1;
    still_there();
    fail('E_TARGET_BUSY', 'given up') if $ended;
  }
}

sub open_parts {
  my ($id, $flags, $asks) = @_;
  $parts = ($target eq '/' ? '' : $target) . "/.cahier-$id";
  if (mkdir $parts, 0700) { take_lock($asks); return }
  if ($! != Errno::EEXIST()) { my $errno = $! + 0; my $text = "$!"; my $path = $parts; $parts = undef; fail(code_of($errno), "cannot make $path: $text") }
  my @is = lstat $parts;
  if (!-d _ || $is[4] != $> || $is[2] & 077) {
    my $path = $parts;
    $parts = undef;
    fail('E_TARGET_DENIED', "$path is there already, and is no folder of ours");
  }
  take_lock($asks);
  my $keeps = $flags =~ /r/ && ($flags =~ /s/ || !-e "$parts/seeded");
  if ($keeps && -d "$parts/t") {
    # What came as a stream is a part like any other now.
    for my $index (grep { $kind[$_] eq 'f' && $found[$_] =~ /^[nh]/ } 0 .. $#kind) { rename "$parts/t/$name[$index]", "$parts/$index" }
  }
  remove_tree($parts, $keeps ? qr/^(?:lock|seeded|\d+)\z/ : qr/^lock\z/);
}

# All that is in a folder but what fits.
sub remove_tree {
  my ($folder, $but) = @_;
  opendir my $dir, $folder or return;
  my @names = grep { $_ ne '.' && $_ ne '..' && (!defined $but || $_ !~ $but) } readdir $dir;
  closedir $dir;
  for (@names) {
    my $path = "$folder/$_";
    next if unlink $path;
    lstat $path;
    next unless -d _;
    chmod 0700, $path;
    remove_tree($path);
    rmdir $path;
  }
}

# Lets go of the folder of parts.
sub close_parts {
  my $keep = shift;
  return unless $made_lock;
  $made_lock = 0;
  return unless is_mine();
  if ($keep) {
    unlink "$parts/lock", "$parts/asked";
    # Nothing came.
    rmdir "$parts/t";
  } else {
    remove_tree($parts);
  }
  rmdir $parts;
}

# Something came that has not become a file.
sub is_of_use {
  opendir my $dir, $parts or return 0;
  my @left = grep { /^\d+\z/ && -s "$parts/$_" } readdir $dir;
  return @left || grep { $kind[$_] eq 'f' && $found[$_] =~ /^[np]/ && !$final{$_} && -s part_of($_) } @order;
}

sub on_abandon {
  my (undef, $what) = @_;
  $what eq 'keep' || $what eq 'remove' or fail('E_ARGUMENT', 'keep or remove?');
  close_place($what eq 'keep');
  answer();
}

# ---- part commit

sub on_commit {
  my $payload = shift;
  fail('E_ARGUMENT', 'nothing is open') unless defined $target;
  fail('E_TARGET_BUSY', "another transfer of the same files into $target has taken over its parts") if $made_lock && !is_mine();
  drop_link($up) if $up;
  my (%sha_of, %differs, @failures, $by_size);
  for (split /\n/, $payload) { my ($index, $digest) = split / /; if ($digest eq 'differs') { $differs{$index} = 1 } else { $sha_of{$index} = $digest } }
  my $files = 0;
  close_file();
  my %bad;
  for my $index (sort { $a <=> $b } keys %sha_of) {
    next if $kind[$index] ne 'f' || $found[$index] =~ /^[sx]/;
    my $why = eval { check($index, $sha_of{$index}, \$by_size); 1 } ? undef : [thrown($@)];
    next unless $why;
    $bad{$index} = 1;
    push @failures, [$index, @$why];
    unlink part_of($index) if $why->[0] eq 'E_COPY_CORRUPT';
  }
  my %made;
  my @all = 0 .. $#kind;
  # Directories that were there and do not let us in are opened for a moment. They get their mode at the end.
  for my $index (grep { $kind[$_] eq 'd' && $found[$_] eq 's' && !$linked{$name[$_]} } @all) {
    my @is = lstat at($index);
    chmod $is[2] & 07777 | 0700, at($index) if -d _ && ($is[2] & 0700) != 0700;
  }
  # Only what is meant to be there comes along with a tree.
  if (my @tops = grep { $new_top{$_} && defined $parts && -d "$parts/t/$_" } sort keys %new_top) {
    for my $index (@all) {
      next unless $name[$index] =~ m{^([^/]+)} && $new_top{$1};
      unlink "$parts/t/$name[$index]" if $kind[$index] eq 'f' && !($streamed{$index} && exists $sha_of{$index} && !$bad{$index});
    }
    for my $top (@tops) { place_tree($top, \%sha_of, \%bad, \%made) }
  }
  for my $index (@all) {
    next if $found[$index] =~ /^x/;
    still_there() unless $index & 1023;
    my $done = eval {
      if ($kind[$index] eq 'd') { place_directory($index) unless $made{$index} || $found[$index] eq 's' }
      elsif ($kind[$index] eq 'l') { place_link($index) if $found[$index] ne 's' && !$made{$index} }
      elsif ($found[$index] eq 's' || $found[$index] =~ /^h/ && !exists $sha_of{$index} && !$differs{$index}) { check_above($index); fix_mode($index) }
      elsif (exists $sha_of{$index} && !$bad{$index}) { place_file($index) unless $made{$index}; $final{$index} = 1; $files++ }
      1;
    };
    push @failures, [$index, thrown($@)] unless $done;
  }
  # The deepest first: what is done in a directory changes its time.
  for my $index (reverse grep { $kind[$_] eq 'd' && $found[$_] !~ /^x/ && !$linked{$name[$_]} } @all) {
    my $path = at($index);
    lstat $path;
    next unless -d _;
    my $fine = (chmod($mode[$index], $path) || unable()) && (set_time($path, $time[$index]) || unable());
    push @failures, [$index, code_of($! + 0), "cannot set the mode and time of $path: $!"] unless $fine || $found[$index] eq 's';
  }
  # The rest is worth something to the next one.
  close_parts($keeps_parts && is_of_use());
  my $text = join '', map { "$_->[0] $_->[1] " . word($_->[2]) . "\n" } @failures;
  answer("$files " . ($by_size ? 'size' : 'sha256'), $text);
}

sub check {
  my ($index, $digest, $by_size) = @_;
  my $path = part_of($index);
  if ($streamed{$index}) {
    my $at = $streamed{$index} - 1;
    fail('E_COPY_LOST', 'it did not come whole') if $start[$at] + $size[$index] > $have || !$trusted;
    # A file of the stream was written by us alone.
    return if $digest eq '-';
  }
  my $bytes = -s $path;
  fail('E_COPY_LOST', 'it did not come') unless defined $bytes && -f _;
  fail('E_COPY_CORRUPT', "$bytes bytes came, and it has $size[$index]") if $bytes != $size[$index];
  if ($digest eq '-') { $$by_size = 1; return }
  my $is = digest_of($path);
  fail_here('cannot read what came') unless defined $is;
  fail('E_COPY_CORRUPT', 'what came has another SHA-256 than what was sent') if $is ne $digest;
}

# A new tree is renamed as one. When somebody has made a directory of that name meanwhile, its files go one by one.
sub place_tree {
  my ($top, $sha_of, $bad, $made) = @_;
  my @inside = grep { $name[$_] eq $top || index($name[$_], "$top/") == 0 } 0 .. $#kind;
  for my $index (@inside) {
    my $path = "$parts/t/$name[$index]";
    if ($kind[$index] eq 'd') { mkdir $path, 0700 unless -d $path }
    elsif ($kind[$index] eq 'l') { unlink $path; symlink $link[$index], $path and set_time($path, $time[$index], 1) and $made->{$index} = 1 }
    # What came in another way.
    elsif (!$streamed{$index} && exists $sha_of->{$index} && !$bad->{$index}) {
      chmod $mode[$index], "$parts/$index" and set_time("$parts/$index", $time[$index]) and rename "$parts/$index", $path and $made->{$index} = 1;
    }
  }
  my $to = $target eq '/' ? "/$top" : "$target/$top";
  return fall_back($made, @inside) if -e $to || -l $to || !rename "$parts/t/$top", $to;
  for my $index (@inside) { $made->{$index} = 1 if $kind[$index] eq 'd' || $streamed{$index} }
}

# What is in the tree is taken out of it again.
sub fall_back {
  my ($made, @inside) = @_;
  for my $index (@inside) {
    delete $made->{$index};
    rename "$parts/t/$name[$index]", "$parts/$index" if $kind[$index] eq 'f';
    delete $streamed{$index};
  }
}

sub place_directory {
  my $index = shift;
  check_above($index);
  my $path = at($index);
  return if mkdir $path, 0700;
  my $errno = $!;
  lstat $path;
  return if -d _ || $linked{$name[$index]} && -d $path;
  $! = $errno;
  fail_here("cannot make $path");
}

sub place_link {
  my $index = shift;
  check_above($index);
  my $path = at($index);
  my $temporary = "$parts/$index";
  unlink $temporary;
  symlink $link[$index], $temporary or fail_here("cannot make the link $path");
  set_time($temporary, $time[$index], 1);
  rename $temporary, $path or fail_here("cannot place the link $path");
}

# File systems that keep no modes or times say one of these; the content is right all the same.
sub unable { return $! == Errno::EPERM() || $! == Errno::ENOSYS() || $! == Errno::EOPNOTSUPP() || $! == Errno::EINVAL() }

# The directory of an entry is still the one that was looked at: a link that came since is not followed.
sub check_above {
  my $name = $name[$_[0]];
  while ($name =~ s{/[^/]*\z}{}) {
    return if $checked{$name};
    my $path = $target eq '/' ? "/$name" : "$target/$name";
    my @is = $linked{$name} ? stat $path : lstat $path;
    -d _ or fail('E_TARGET_KIND', "something else took the place of $path while it was copied");
    $checked{$name} = 1;
  }
}

sub place_file {
  my $index = shift;
  check_above($index);
  my $from = part_of($index);
  my $path = at($index);
  unless ($streamed{$index} && $from =~ m{/t/[^/]+/}) {
    chmod $mode[$index], $from or unable() or fail_here("cannot set the mode of $path");
    set_time($from, $time[$index]) or unable() or fail_here("cannot set the time of $path");
  }
  rename $from, $path or fail_here("cannot place $path");
}

# The content is the same; the mode may not be. It is not ours to insist on when the file is somebody else's.
sub fix_mode {
  my $index = shift;
  my @is = stat at($index);
  set_time(at($index), $time[$index]) if $found[$index] ne 's';
  chmod $mode[$index], at($index) if @is && ($is[2] & 07777) != $mode[$index];
}

# ---- part stream

sub on_stream {
  my ($payload, $size, $bytes) = @_;
  fail('E_ARGUMENT', 'nothing is open, or nothing needed') unless $made_lock;
  fail('E_ARGUMENT', 'there is no key yet') unless defined $key;
  drop_links();
  fail('E_ARGUMENT', 'this is no size of chunks') if $size !~ /^\d+\z/ || $size < 1 || $size > $MOST_CHUNK;
  reset_stream();
  my $sum = 0;
  for my $index (split /\n/, $payload) {
    fail('E_ARGUMENT', "entry $index is not needed") unless defined $kind[$index] && $kind[$index] eq 'f' && $found[$index] =~ /^[nph]/;
    push @order, $index + 0;
    push @start, $sum;
    $streamed{$index} = @order;
    $sum += $size[$index];
  }
  fail('E_ARGUMENT', "the stream has $sum bytes, not $bytes") if $sum != $bytes;
  $chunk = $size;
  if (%new_top) {
    mkdir "$parts/t", 0700;
    for my $index (grep { $kind[$_] eq 'd' && $name[$_] =~ m{^([^/]+)} && $new_top{$1} } 0 .. $#kind) {
      my $path = "$parts/t/$name[$index]";
      mkdir $path, 0700 or -d $path or fail_here("cannot make a directory in $parts");
    }
  }
  if (%new_top) {
    for my $index (grep { $found[$_] =~ /^p/ } @order) {
      my $path = part_of($index);
      rename "$parts/$index", $path if $path ne "$parts/$index";
    }
  }
  my $there = prefix($sum);
  $total = $sum;
  take_prefix($there) if $there > 0;
  # What was there before is believed when the first chunk fits.
  $trusted = $have == 0;
  start_writing($have);
  answer($have);
  end_stream() if $have == $total;
}

# How much of the stream lies among the parts, in whole chunks. The last chunk always comes again, for its tag checks all of them.
sub prefix {
  my $sum = shift;
  my $there = 0;
  for my $index (@order) {
    next if $size[$index] == 0;
    my $bytes = -s part_of($index);
    last unless $bytes && -f _ && $bytes <= $size[$index];
    $there += $bytes;
    last if $bytes < $size[$index];
  }
  $there = $sum - 1 if $there == $sum && $sum > 0;
  return $there - $there % $chunk;
}

sub take_prefix {
  my $there = shift;
  while ($have < $there) {
    my $content = eval { read_stream($have, $chunk) };
    last unless defined $content;
    $sha->add($content);
    $digests .= $sha->clone->digest;
    $have += $chunk;
    still_there();
  }
}

# The place in @order of the first entry that ends behind this offset.
sub place_of {
  my $offset = shift;
  my ($low, $high) = (0, scalar @order);
  while ($low < $high) {
    my $middle = ($low + $high) >> 1;
    if ($start[$middle] + $size[$order[$middle]] > $offset) { $high = $middle } else { $low = $middle + 1 }
  }
  return $low;
}

sub start_writing {
  my $offset = shift;
  close_file();
  ($read_at, $read_file) = (-1, undef);
  my $place = place_of($offset);
  # What is whole may have another mode or time, and what is empty may be missing.
  for ($writing = 0; $writing < $place;) {
    if ($size[$order[$writing]] == 0) { open_file(); end_file(); next }
    dress($order[$writing], part_of($order[$writing])) if in_tree($order[$writing]);
    $writing++;
  }
  return unless $place < @order && $offset > $start[$place];
  my $inside = $offset - $start[$place];
  my $path = part_of($order[$place]);
  # It may have its final mode already.
  chmod 0600, $path;
  open $file, '+<:unix', $path and truncate $file, $inside and sysseek $file, $inside, 0 or fail_here('cannot go on with a part');
  ($wants, $is_new) = ($size[$order[$place]] - $inside, 0);
}

sub in_tree { return part_of($_[0]) ne "$parts/$_[0]" }

sub dress {
  my ($index, $file) = @_;
  chmod $mode[$index], $file;
  set_time($file, $time[$index]);
}

sub open_file {
  my $index = $order[$writing];
  my $path = part_of($index);
  # It may have to be opened again.
  my $mode = $mode[$index] | 0600;
  my $flags = Fcntl::O_WRONLY() | Fcntl::O_CREAT() | Fcntl::O_EXCL();
  sysopen $file, $path, $flags, $mode or $! == Errno::EEXIST() && unlink $path and sysopen $file, $path, $flags, $mode or fail_here("cannot write $name[$index]");
  ($wants, $is_new) = ($size[$index], 1);
}

sub end_file {
  my $index = $order[$writing];
  if (in_tree($index)) {
    if ($is_new && ($mode[$index] | 0600) == $mode[$index]) { set_time($file, $time[$index]) } else { dress($index, $file) }
  }
  my $handle = $file;
  $file = undef;
  close $handle or fail_here("cannot write $name[$index]");
  $writing++;
}

# Writes a piece of $_[0] that begins at $at.
sub write_stream {
  my ($at, $length) = @_[1, 2];
  while ($length > 0) {
    open_file() unless $file;
    my $piece = $wants < $length ? $wants : $length;
    if ($piece > 0) {
      my $n = syswrite $file, $_[0], $piece, $at;
      if (!defined $n) { next if $! == Errno::EINTR(); fail_here("cannot write $name[$order[$writing]]") }
      $at += $n;
      $length -= $n;
      $wants -= $n;
    }
    end_file() if $wants == 0;
  }
  return unless $have + $_[2] == $total;
  while ($writing < @order) { open_file(); end_file() }
}

# What lies among the parts from there on; less only at the end.
sub read_stream {
  my ($offset, $length) = @_;
  my ($at, $content, $filled) = (place_of($offset), '', 0);
  while ($filled < $length && $at < @order) {
    my $index = $order[$at];
    if ($size[$index] == 0) { $at++; next }
    my $inside = $offset + $filled - $start[$at];
    if ($read_at != $at) {
      $read_at = -1;
      open $read_file, '<:unix', part_of($index) or fail_here('cannot read a part');
      $read_at = $at;
    }
    my $wanted = $size[$index] - $inside;
    $wanted = $length - $filled if $wanted > $length - $filled;
    sysseek $read_file, $inside, 0;
    my $n = sysread $read_file, $content, $wanted, $filled;
    fail_here('cannot read a part') unless defined $n;
    fail('E_TRANSFER', 'a part is shorter than it was') if $n == 0;
    $filled += $n;
    $at++ if $inside + $n == $size[$index];
  }
  return $content;
}

# Takes as long whatever the first difference.
sub is_same { my $differing = $_[0] ^ $_[1]; return length $_[0] == length $_[1] && $differing =~ tr/\0//c == 0 }

sub tag { return Digest::SHA::hmac_sha256('frame' . pack('NNN', $_[0] >> 32, $_[0] & 0xFFFFFFFF, $_[1]) . $_[2], $key) }

# A frame that has come whole.
sub take_frame {
  my ($l, $frame) = @_;
  my $length = length($$frame) - $HEADER;
  my $next = $sha->clone;
  $next->add(substr $$frame, $HEADER);
  my $digest = $next->clone->digest;
  return bad($l) unless is_same(substr($$frame, 12, 32), tag($have, $length, $digest));
  ($trusted, $sha) = (1, $next);
  if (!eval { write_stream($$frame, $HEADER, $length); 1 }) {
    event('fail', thrown_words($@));
    $failed = 1;
    close_file();
    return drop_link($l);
  }
  $digests .= $digest;
  $frame{$have} = $$frame;
  push @frames, $have;
  $in_memory += length $$frame;
  while ($in_memory > $WINDOW && @frames > 1) { $in_memory -= length delete $frame{shift @frames} }
  $have += $length;
  # While more is on its way: in the end all hosts commit at once.
  find_sub('on_commit');
  end_stream() if $have == $total;
}

sub end_stream {
  close_file();
  drop_link($up) if $up;
  $whole = 1;
  tell_have(1);
  event('whole', $sha->clone->hexdigest);
}

# What did not fit is forgotten with its link. Where all before it was never checked either, it begins anew.
sub bad {
  my $l = shift;
  my ($epoch, $offset) = ($l->{epoch}, $have);
  drop_link($l);
  event('bad', $epoch, $offset);
  if (!$trusted) {
    ($sha, $digests, $have, $trusted) = (new_sha(), '', 0, 1);
    if (!eval { start_writing(0); 1 }) { event('fail', thrown_words($@)); $failed = 1 }
    tell_have(1);
  }
}

sub thrown_words { my ($code, $message) = thrown($_[0]); return ($code, word($message)) }

# ---- links

sub random_bytes {
  my $bytes = '';
  open my $random, '<:unix', '/dev/urandom' or fail_here('no random numbers');
  sysread $random, $bytes, $_[0];
  return $bytes;
}

sub proof { my ($who, $l) = @_; return Digest::SHA::hmac_sha256($who . $l->{nonce_s} . $l->{nonce_c} . pack('N', $l->{epoch}), $key) }

sub address_of {
  my ($address, $port) = @_;
  if ($address =~ /:/) {
    fail('E_TRANSFER', 'this perl does not know addresses of version 6') unless Socket->can('inet_pton') && Socket->can('pack_sockaddr_in6');
    my $packed = Socket::inet_pton(Socket::AF_INET6(), $address) or fail('E_TRANSFER', "this is no address: $address");
    return (Socket::AF_INET6(), Socket::pack_sockaddr_in6($port, $packed));
  }
  my $packed = Socket::inet_aton($address) or fail('E_TRANSFER', "this is no address: $address");
  return (Socket::AF_INET(), Socket::pack_sockaddr_in($port, $packed));
}

sub remove_socket { unlink "$_[0]/link", "$_[0]/lock"; rmdir $_[0] }

sub on_listen {
  my (undef, $how, $address) = @_;
  my ($socket, $said, $folder, $told);
  if ($how eq 'unix') {
    ($socket, $folder) = private_socket();
    $said = "$folder/link";
  } else {
    # Where the one who asks has reached this host.
    $told = $address = (split ' ', $ENV{SSH_CONNECTION} || '')[2] || fail('E_TRANSFER', 'nothing says at which address this host was reached')
      if $address eq '-';
    my ($family, $packed) = address_of($address, 0);
    socket $socket, $family, Socket::SOCK_STREAM(), 0 or fail_here('cannot make a socket');
    bind $socket, $packed or fail('E_TRANSFER', "cannot listen at $address: $!");
    my $own = getsockname $socket;
    $said = $family == Socket::AF_INET() ? (Socket::unpack_sockaddr_in($own))[0] : (Socket::unpack_sockaddr_in6($own))[0];
  }
  listen $socket, 64 or fail_here('cannot listen');
  set_nonblocking($socket);
  $listener{fileno $socket} = [$socket, $folder];
  answer(word($said) . (defined $told ? ' ' . word($told) : ''));
}

sub on_expect {
  my (undef, $epoch) = @_;
  $expected = $epoch;
  drop_link($up) if $up && $up->{epoch} < $epoch;
  answer();
}

sub new_link {
  my ($handle, $role) = @_;
  set_nonblocking($handle);
  my $l = { handle => $handle, fd => fileno $handle, role => $role, in => '', out => '', at => 0, until => now() + $PATIENCE };
  return $link{$l->{fd}} = $l;
}

sub take_callers {
  my ($listening, $folder) = @{$_[0]};
  while (my $from = accept my $socket, $listening) {
    # Who has stood there the longest makes room.
    my @standing = sort { $a->{until} <=> $b->{until} } grep { $_->{role} eq 'door' } values %link;
    drop_link(shift @standing) while @standing >= $IN_THE_DOOR;
    my $l = new_link($socket, 'door');
    setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1 unless defined $folder;
    $l->{nonce_s} = random_bytes(16);
    $l->{out} = "CC1\n" . $l->{nonce_s};
    drop_link($l) unless write_out($l);
  }
}

# What stands in $l->{out}; false when nobody takes it any more.
sub write_out {
  my $l = shift;
  while ($l->{at} < length $l->{out}) {
    my $n = syswrite $l->{handle}, $l->{out}, length($l->{out}) - $l->{at}, $l->{at};
    if (!defined $n) {
      return 1 if $! == Errno::EAGAIN() || $! == Errno::EINTR();
      return 0;
    }
    $l->{at} += $n;
  }
  ($l->{out}, $l->{at}) = ('', 0);
  return 1;
}

# Undefined: nothing now. 0: the end, or an error.
sub read_in {
  my ($l, $most) = @_;
  my $n = sysread $l->{handle}, $l->{in}, $most, length $l->{in};
  return $n if defined $n;
  return undef if $! == Errno::EAGAIN() || $! == Errno::EINTR();
  return 0;
}

sub read_door {
  my $l = shift;
  my $n = read_in($l, 52 - length $l->{in});
  return unless defined $n;
  return drop_link($l) if $n == 0;
  return if length $l->{in} < 52;
  ($l->{nonce_c}, $l->{epoch}) = unpack 'a16 N', $l->{in};
  my $is_right = defined $key && is_same(substr($l->{in}, 20), proof('client', $l));
  return drop_link($l) if !$is_right || $l->{epoch} < $expected || !defined $total || $failed;
  drop_link($up) if $up;
  $expected = $l->{epoch};
  ($l->{role}, $l->{in}, $up) = ('up', '', $l);
  delete $l->{until};
  $l->{out} .= proof('server', $l) . pack 'NN', $have >> 32, $have & 0xFFFFFFFF;
  drop_link($l) unless write_out($l);
}

# One frame, read to its end and no further.
sub read_up {
  my $l = shift;
  # Others have their turn after so many.
  for (1 .. 16) {
    my $got = length $l->{in};
    my $n = read_in($l, ($got < $HEADER ? $HEADER : $l->{frame}) - $got);
    return unless defined $n;
    return drop_link($l) if $n == 0;
    $got += $n;
    next if $got < $HEADER;
    if ($got == $HEADER) {
      my ($length, $high, $low) = unpack 'NNN', $l->{in};
      my $left = $total - $have;
      return bad($l) if $left == 0 || $high * 4294967296 + $low != $have || $length != ($left < $chunk ? $left : $chunk);
      $l->{frame} = $HEADER + $length;
      next;
    }
    next if $got < $l->{frame};
    my $frame = delete $l->{in};
    $l->{in} = '';
    take_frame($l, \$frame);
    return;
  }
}

sub late {
  my $l = shift;
  return drop_link($l) if $l->{role} eq 'door';
  is_down($l, 'timeout', $l->{connecting} ? 'nobody answered' : 'it did not introduce itself');
}

# ---- part socket

# In a new folder that only its user can enter, in the first place that has room for it.
sub private_socket {
  my $why = 'no usable place for it';
  # A path of a socket has 107 bytes, and this one stands in a command line.
  for my $base (grep { defined && m{^/[\w./-]{1,59}\z} } $ENV{TMPDIR}, '/tmp', '/dev/shm', $home) {
    sweep($base);
    my $folder = "$base/cahier-" . unpack 'H*', random_bytes(8);
    socket my $socket, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or fail_here('cannot make a socket');
    my ($text, $file) = own_lock();
    return ($socket, $folder)
      if mkdir($folder, 0700) && open($file, '>:unix', "$folder/lock") && (syswrite($file, $text) || 0) == length $text && bind($socket, Socket::pack_sockaddr_un("$folder/link"));
    $why = "$!";
    remove_socket($folder);
  }
  fail('E_TRANSFER', "nobody can listen at a socket of this host: $why");
}

# Removes what agents of this user have left that are known to be dead.
sub sweep {
  my $base = shift;
  opendir my $dir, $base or return;
  for my $folder (map { "$base/$_" } grep { /^cahier-[0-9a-f]{16}\z/ } readdir $dir) {
    my @is = lstat $folder;
    next if !-d _ || $is[4] != $> || $is[2] & 077;
    my @words = split ' ', whole_text("$folder/lock");
    remove_socket($folder) if sees(@words) && !runs(@words);
  }
}

# ---- part sink

sub on_forward {
  my ($payload, $epoch, $how, @where) = @_;
  fail('E_ARGUMENT', 'there is no key yet') unless defined $key;
  fail('E_ARGUMENT', 'there is no stream yet') unless defined $total || $how eq 'none';
  drop_link($down) if $down;
  return answer() if $how eq 'none';
  if ($how eq 'command') {
    my $l = start_program(split /\0/, $payload);
    $l->{epoch} = $epoch;
    $down = $l;
    return answer();
  }
  my ($family, $packed) = address_of(@where);
  socket my $socket, $family, Socket::SOCK_STREAM(), 0 or fail_here('cannot make a socket');
  my $l = $down = new_link($socket, 'down');
  setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
  $l->{epoch} = $epoch;
  answer();
  return if connect $socket, $packed;
  if ($! == Errno::EINPROGRESS()) { $l->{connecting} = 1 } else { is_down($l, refusal($! + 0), "$!") }
}

sub refusal { return $_[0] == Errno::ETIMEDOUT() ? 'timeout' : 'refused' }

sub is_down {
  my ($l, $reason, $detail) = @_;
  drop_link($l);
  event('down', $l->{epoch}, $reason, word($detail));
}

sub start_program {
  my @words = @_;
  socketpair my $ours, my $theirs, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or fail_here('cannot make a socket');
  pipe my $errors, my $tell or fail_here('cannot make a pipe');
  my $pid = fork;
  fail_here('cannot start a program') unless defined $pid;
  if ($pid == 0) {
    setpgrp 0, 0;
    $SIG{$_} = 'DEFAULT' for qw(PIPE HUP TERM INT);
    open STDIN, '<&', $theirs;
    open STDOUT, '>&', $theirs;
    open STDERR, '>&', $tell;
    { no warnings; exec { $words[0] } @words }
    syswrite STDERR, "$words[0]: $!";
    kill 'KILL', $$;
  }
  setpgrp $pid, $pid;
  $user_pid{$pid} = 1;
  close $theirs;
  close $tell;
  my $l = new_link($ours, 'down');
  $l->{pid} = $pid;
  $l->{errors} = new_link($errors, 'errors');
  delete $l->{errors}{until};
  return $l;
}

# The last words of a program, or how it ended.
sub last_words {
  my $l = shift;
  return '' unless $l->{errors};
  # It has closed its side, so it is about to end.
  for (1 .. 50) {
    my $n = read_in($l->{errors}, 65536);
    last if defined $n && $n == 0;
    next if defined $n;
    select undef, undef, undef, 0.01;
  }
  my @lines = grep { /\S/ } split /\r?\n/, $l->{errors}{in};
  return @lines ? substr $lines[-1], 0, 500 : 'the program ended';
}

sub lost_down {
  my $l = shift;
  return is_down($l, $l->{stands} ? 'closed' : 'program', last_words($l)) if $l->{pid};
  return is_down($l, $l->{nonce_c} ? 'denied' : 'closed', 'it closed the connection at the door') unless $l->{stands};
  is_down($l, 'closed', 'the connection broke');
}

sub read_down {
  my $l = shift;
  my $n = read_in($l, 65536);
  return unless defined $n;
  # It has everything, and goes.
  return $l->{done} ? drop_link($l) : lost_down($l) if $n == 0;
  return is_down($l, 'denied', 'it says what it should not') if $l->{stands};
  if (!$l->{nonce_c}) {
    if ($l->{pid}) {
      # A login shell may have something to say first.
      my $at = index $l->{in}, "CC1\n";
      if ($at < 0) { return length $l->{in} > 65536 ? is_down($l, 'denied', 'it does not speak as a link') : () }
      substr($l->{in}, 0, $at) = '';
    }
    return if length $l->{in} < 20 && substr($l->{in}, 0, 4) eq substr "CC1\n", 0, length $l->{in};
    return is_down($l, 'denied', 'it does not speak as a link') if substr($l->{in}, 0, 4) ne "CC1\n";
    return if length $l->{in} < 20;
    $l->{nonce_s} = substr $l->{in}, 4, 16;
    $l->{nonce_c} = random_bytes(16);
    substr($l->{in}, 0, 20) = '';
    $l->{out} = $l->{nonce_c} . pack('N', $l->{epoch}) . proof('client', $l);
    return lost_down($l) unless write_out($l);
  }
  return if length $l->{in} < 40;
  my ($high, $low) = unpack 'x32 NN', $l->{in};
  my $offset = $high * 4294967296 + $low;
  my $fits = is_same(substr($l->{in}, 0, 32), proof('server', $l)) && length $l->{in} == 40 && $offset <= $total && ($offset == $total || $offset % $chunk == 0);
  return is_down($l, 'denied', 'it does not know the key') unless $fits;
  ($l->{in}, $l->{stands}, $l->{next}) = ('', 1, $offset);
  delete $l->{until};
  event('up', $l->{epoch}, $offset);
  write_down($l);
}

sub write_down {
  my $l = shift;
  if ($l->{connecting}) {
    my $errno = unpack 'i', getsockopt $l->{handle}, Socket::SOL_SOCKET(), Socket::SO_ERROR();
    delete $l->{connecting};
    if ($errno) { $! = $errno; is_down($l, refusal($errno), "$!") }
    return;
  }
  for (1 .. 16) {
    return lost_down($l) unless write_out($l);
    return if length $l->{out} || !may_send($l);
    my $offset = $l->{next};
    if ($offset == $total) {
      $l->{done} = 1;
      shutdown $l->{handle}, 1;
      return;
    }
    if (exists $frame{$offset}) { $l->{out} = $frame{$offset} }
    elsif (!eval { $l->{out} = frame_from_parts($offset); 1 }) {
      my ($code, $message) = thrown($@);
      event('fail', $code, word($message));
      return drop_link($l);
    }
    $l->{next} += length($l->{out}) - $HEADER;
  }
}

sub frame_from_parts {
  my $offset = shift;
  my $length = $total - $offset < $chunk ? $total - $offset : $chunk;
  my $content = read_stream($offset, $length);
  return pack('NNN', $length, $offset >> 32, $offset & 0xFFFFFFFF) . tag($offset, $length, substr $digests, int($offset / $chunk) * 32, 32) . $content;
}

# ---- part listing

sub base_name {
  my $path = shift;
  $path =~ s{/+\z}{};
  my $last = $path =~ m{([^/]*)\z} ? $1 : '';
  if ($last eq '.' || $last eq '..') { require Cwd; my $real = Cwd::abs_path($path); return defined $real ? base_name($real) : '' }
  return $last;
}

sub on_list {
  my ($payload, $links, $special) = @_;
  my ($text, @sources) = ('');
  @listed = ();
  my $wrong = sub { $text .= "x $_[0] " . word($_[1]) . ' ' . word($_[2]) . "\n"; return };
  for (split /\n/, $payload) {
    my $said = unword($_);
    my $path = $said =~ m{^/} ? $said : $said eq '~' ? $home : $said =~ m{^~/(.*)}s ? "$home/$1" : "$home/$said";
    if (stat $path) { push @sources, $path }
    elsif (!$!{ENOENT} && !$!{ENOTDIR}) { $wrong->('E_SOURCE_UNREADABLE', $said, $!{EACCES} ? 'it may not be read' : "$!") }
    elsif (lstat $path) { $wrong->('E_SOURCE_MISSING', $said, 'a link to what does not exist') }
    elsif ($path !~ /[*?\[]/) { $wrong->('E_SOURCE_MISSING', $said, 'no such file or directory') }
    elsif (my @found = grep { stat } matches($path)) { push @sources, @found }
    else { $wrong->('E_SOURCE_MISSING', $said, 'this pattern fits no file') }
  }
  my %entered;
  for my $path (@sources) { enter(base_name($path), $path, $links, $special, \$text, $wrong) unless $entered{$path}++ }
  answer('', $text);
}

# Names in a directory that a part of a pattern fits; those with a dot in front only when it has one.
sub matches {
  my @found = ('');
  for my $part (grep { length } split m{/}, $_[0]) {
    if ($part !~ /[*?\[\\]/) { $_ .= "/$part" for @found; next }
    my $pattern = '';
    while ($part =~ /\G(?:\\(.)|\[(!|\^)?(\]?[^\]]*)\]|(.))/gs) {
      if (defined $1) { $pattern .= quotemeta $1 }
      elsif (defined $3) { my ($not, $set) = (defined $2, $3); $set =~ s/([\\\]\@\$])/\\$1/g; $pattern .= $not ? "[^$set]" : "[$set]" }
      else { $pattern .= $4 eq '*' ? '.*' : $4 eq '?' ? '.' : quotemeta $4 }
    }
    my $fits = eval { qr/^$pattern\z/s } or return ();
    @found = map {
      my $folder = $_;
      opendir my $dir, "$folder/" or ();
      my @names = $dir ? sort grep { $_ ne '.' && $_ ne '..' && ($part =~ /^\./ || !/^\./) && $_ =~ $fits } readdir $dir : ();
      map { "$folder/$_" } @names;
    } @found;
  }
  return @found;
}

sub enter {
  my ($top, $path, $links, $special, $text, $wrong) = @_;
  # What is still to be looked at, next one last: name, path, and the directories above it as device:inode.
  my @left = [$top, $path, {}];
  my $is_top = 1;
  while (@left) {
    my ($name, $where, $above) = @{pop @left};
    my @is = look($where, $is_top);
    if (!@is) {
      # It was there a moment ago.
      next if !$is_top && ($!{ENOENT} || $!{ENOTDIR});
      $wrong->($!{ENOENT} ? 'E_SOURCE_MISSING' : 'E_SOURCE_UNREADABLE', $where, $!{EACCES} ? 'it may not be read' : "$!");
      next;
    }
    if (($is[2] & 0170000) == 0120000) {
      if ($links eq 'skip') { $$text .= 'o ' . word($name) . ' ' . word('symbolic link') . "\n"; next }
      if ($links eq 'keep') {
        my $to = readlink $where;
        list_entry($text, $where, $name, "l " . time_of($is[9]) . ' ' . word($name) . ' ' . word($to), \@is) if defined $to;
        next;
      }
      @is = look($where, 1);
      if (!@is) { $wrong->('E_SOURCE_MISSING', $where, 'a link to what does not exist'); next }
    }
    my $type = $is[2] & 0170000;
    my $mode = sprintf '%o', $is[2] & 07777;
    my $time = time_of($is[9]);
    if ($type == 0100000) {
      if (!-r $where) { $wrong->('E_SOURCE_UNREADABLE', $where, 'it may not be read') }
      else { list_entry($text, $where, $name, "f $mode $time $is[7] " . word($name), \@is) }
    } elsif ($type == 0040000) {
      my $identity = "$is[0]:$is[1]";
      if ($above->{$identity}) { $wrong->('E_SOURCE_UNREADABLE', $where, 'it leads back to a directory above it, without end'); next }
      my $dir;
      if (!opendir $dir, $where) {
        next if !$is_top && ($!{ENOENT} || $!{ENOTDIR});
        $wrong->('E_SOURCE_UNREADABLE', $where, $!{EACCES} ? 'it may not be read' : "$!");
        next;
      }
      my @names = sort { $b cmp $a } grep { $_ ne '.' && $_ ne '..' } readdir $dir;
      list_entry($text, $where, $name, "d $mode $time " . word($name), \@is);
      my $inside = { %$above, $identity => 1 };
      $where =~ s{/+\z}{};
      push @left, map { ["$name/$_", "$where/$_", $inside] } @names;
    } else {
      my $kind = $type == 0140000 ? 'socket' : $type == 0010000 ? 'named pipe' : 'device';
      if ($is_top || $special eq 'refuse') { $wrong->('E_SOURCE_SPECIAL', $where, "this is a $kind") }
      else { $$text .= 'o ' . word($name) . ' ' . word($kind) . "\n" }
    }
  } continue { $is_top = 0 }
}

sub list_entry {
  my ($text, $where, $name, $line, $is) = @_;
  $$text .= 'e ' . word($where) . " $line\n";
  push @listed, [$where, $is->[7], $is->[9]];
}

sub on_digests {
  my $payload = shift;
  my $text = '';
  for (split /\n/, $payload) {
    my ($path, $size, $time) = @{$listed[$_] || []};
    my $unchanged = sub { my @is = defined $path ? look($path, 1) : (); return @is && ($is[2] & 0170000) == 0100000 && $is[7] == $size && $is[9] == $time };
    my $digest = $unchanged->() ? digest_of($path) : undef;
    $text .= (defined $digest && $unchanged->() ? $digest : '-') . "\n";
  }
  answer('', $text);
}

# ---- part loop

sub touch_lock { utime undef, undef, "$parts/lock" if $made_lock }

# Once a second, as long as parts are ours: whether somebody asks for them, and, after a sleep, whether they still are.
sub look_after_parts {
  # What has come was read.
  my $is_read = shift;
  return $asked = 0 unless $made_lock;
  if ($asked && $heard > $asked) { $asked = 0; unlink "$parts/asked" }
  my $since = abs(time - $looked);
  return if $since < 1;
  $looked = time;
  if ($since > $SLEPT && defined $total && !$failed && !is_mine()) {
    event('fail', 'E_TARGET_BUSY', word("another transfer of the same files into $target has taken over its parts"));
    $failed = 1;
    drop_link($up) if $up;
  }
  # What there was no time to read may be the answer.
  if ($asked) { $ended = 1 if now() - $asked > $ANSWER && ($is_read || !has_input()) }
  elsif (-e "$parts/asked") { $asked = now(); event('asked'); flush_out() }
}

sub has_input { my $r = ''; vec($r, 0, 1) = 1; return select $r, undef, undef, 0 }

sub close_place {
  my $keep = shift;
  drop_links();
  reset_stream();
  close_parts($keep) if $made_lock;
  ($target, $parts) = ();
}

sub reset_stream {
  close_file();
  ($chunk, $total, $have, $digests, $trusted, $whole, $told, $told_at, $failed) = (0, undef, 0, '', 1, 0, 0, 0, 0);
  (@order, @start, %streamed, %frame, @frames) = ();
  $in_memory = 0;
  ($read_at, $read_file) = (-1, undef);
  $sha = new_sha();
}

sub close_file { close $file if $file; ($file, $writing, $wants) = (undef, 0, 0) }

sub tell_have {
  return if $have == $told && !$_[0];
  my $now = now();
  return if !$_[0] && $now - $told_at < 0.1;
  ($told, $told_at) = ($have, $now);
  event('have', $have);
}

sub set_nonblocking { fcntl $_[0], Fcntl::F_SETFL(), (fcntl($_[0], Fcntl::F_GETFL(), 0) || 0) | Fcntl::O_NONBLOCK() }

sub close_listeners {
  for (values %listener) {
    my ($socket, $folder) = @$_;
    close $socket;
    remove_socket($folder) if defined $folder;
  }
  %listener = ();
}

sub drop_link {
  my $l = shift;
  delete $link{$l->{fd}};
  close $l->{handle};
  if ($l->{errors}) { delete $link{$l->{errors}{fd}}; close $l->{errors}{handle} }
  kill 'TERM', -$l->{pid} if $l->{pid} && exists $user_pid{$l->{pid}};
  $up = undef if $up && $up == $l;
  $down = undef if $down && $down == $l;
}

# A list of its own: the hash changes meanwhile.
sub drop_links {
  my @now = grep { $_->{role} ne 'errors' } values %link;
  drop_link($_) for @now;
}

sub may_send { my $l = shift; return $l->{at} < length $l->{out} || $l->{stands} && !$l->{done} && $trusted && ($l->{next} < $have || $l->{next} == $total) }

sub clean_up {
  close_place(1);
  close_listeners();
}

know_system();
# The modes of files are those of their sources; only directories on the way to the target are made as the user would.
$umask = umask 0;
$SIG{PIPE} = sub { };
$SIG{$_} = sub { $ended = 1 } for qw(HUP TERM INT);
reset_stream();
set_nonblocking(\*STDIN);
set_nonblocking(\*STDOUT);
say_line("\n$token agent 1 pl $$ " . word($home));
$heard = now();
flush_out();
until ($ended) {
  my ($r, $w) = ('', '');
  vec($r, 0, 1) = 1;
  vec($w, 1, 1) = 1 if length $out;
  vec($r, $_, 1) = 1 for keys %listener;
  for my $l (my @now = values %link) {
    vec($r, $l->{fd}, 1) = 1 unless $l->{connecting};
    vec($w, $l->{fd}, 1) = 1 if $l->{connecting} || $l->{at} < length $l->{out} || $l->{role} eq 'down' && may_send($l);
  }
  my $n = select $r, $w, undef, $have == $told && !%link ? 1 : 0.1;
  look_after_parts();
  if ($n > 0) {
    read_requests() if vec $r, 0, 1;
    for my $fd (keys %listener) { take_callers($listener{$fd}) if vec $r, $fd, 1 }
    for my $l (my @now = values %link) {
      next unless $link{$l->{fd}} && $link{$l->{fd}} == $l;
      if (vec $w, $l->{fd}, 1) {
        if ($l->{role} eq 'down') { write_down($l) } elsif (!write_out($l)) { drop_link($l) }
      }
      next unless vec($r, $l->{fd}, 1) && $link{$l->{fd}} && $link{$l->{fd}} == $l;
      my $role = $l->{role};
      if ($role eq 'up') { read_up($l) } elsif ($role eq 'down') { read_down($l) } elsif ($role eq 'door') { read_door($l) }
      else { my $end = read_in($l, 65536); if (defined $end && $end == 0) { delete $link{$l->{fd}} } substr($l->{in}, 0, -65536) = '' if length $l->{in} > 65536 }
    }
  }
  my $now = now();
  for my $l (my @now = values %link) { late($l) if defined $l->{until} && $now > $l->{until} }
  tell_have();
  look_after_parts();
  while ((my $pid = waitpid -1, 1) > 0) { delete $user_pid{$pid} }
  flush_out();
  $ended = 1 if $now - $heard > $LEASE;
}
clean_up();
for (my $until = now() + 1; length $out && now() < $until;) { flush_out(); select undef, undef, undef, 0.01 if length $out }
exit 0;
