# Runs a command and writes down what it cost: wall time, and processor time of it and of everything that it started, in seconds.
# What loses its parent comes to this process, which waits for it: nothing is left out of the account.
use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(time alarm);

my ($file, @command) = @ARGV;
my %prctl = (x86_64 => 157, aarch64 => 167);
my $machine = (POSIX::uname())[4];
syscall($prctl{$machine}, 36, 1, 0, 0, 0) if exists $prctl{$machine};    # PR_SET_CHILD_SUBREAPER

my $began = time;
my $child = fork;
die "cannot fork: $!\n" unless defined $child;
if ($child == 0) { exec { $command[0] } @command or POSIX::_exit(127) }
waitpid $child, 0;
my $status = $?;
my $wall   = time - $began;
# Something may stay in the background on purpose: it is not waited for without end.
eval { local $SIG{ALRM} = sub { die }; alarm 5; 1 while wait != -1; alarm 0 };
my (undef, undef, $user, $system) = times;
open my $out, '>', $file or die "$file: $!\n";
printf $out "%.6f %.6f\n", $wall, $user + $system;
close $out;
exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
