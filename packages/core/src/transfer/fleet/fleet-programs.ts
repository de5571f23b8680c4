import { ProcessError } from '../../errors.js'

// Programs for hosts that a tool reaches together; all of these have perl. They hold no single quote: they stand between two of them in a
// command line. What they write are lines of ASCII.

const COMMON = `
use strict;
use Fcntl;
use Errno;
binmode STDIN;
$| = 1;
sub err {
  my @names = grep { $!{$_} } qw(ENOSPC EDQUOT EFBIG EACCES EPERM EROFS ENOENT ENOTDIR ELOOP EIO);
  return ($names[0] || "E") . " $!";
}
`.trim()

/**
 * Takes content from its standard input and writes parts. The folder is its argument, in hex; a list comes first, lines
 * `<index> <offset> <bytes>` and a dot. It says `P <bytes>` within a part, and at the end of each `F <index>` or
 * `X <index> <name of the error> <words>`.
 */
const RECEIVE = `${COMMON}
my $folder = pack "H*", $ARGV[0];
my @list;
while (defined(my $line = <STDIN>)) {
  last if $line eq ".\\n";
  push @list, [split " ", $line];
}
for my $item (@list) {
  my ($index, $offset, $left) = @$item;
  my $bad;
  my $written = 0;
  my $opened = sysopen(my $part, "$folder/$index", O_WRONLY | O_CREAT, 0600);
  $bad = err() unless $opened && truncate($part, $offset) && defined(sysseek $part, $offset, 0);
  while ($left > 0) {
    my $got = read STDIN, my $data, ($left < 65536 ? $left : 65536);
    exit 1 unless $got;
    $left -= $got;
    my $at = 0;
    while (!defined $bad && $at < $got) {
      my $put = syswrite $part, $data, $got - $at, $at;
      if (defined $put) { $at += $put }
      elsif (!$!{EINTR}) { $bad = err() }
    }
    $written += $got;
    if ($written >= 262144) { print "P $written\\n"; $written = 0 }
  }
  if ($opened && !close $part) { $bad = err() unless defined $bad }
  print defined $bad ? "X $index $bad\\n" : "F $index\\n";
}`

/**
 * Reads files that are listed on its standard input, lines `<index> <offset> <bytes> <path in hex>` and a dot. It says
 * `B <base64>` or `H <hex>` for content, and at the end of each `F <index>` or `X <index> <name of the error> <words>`.
 */
const SEND = `${COMMON}
my $short = eval { require MIME::Base64; 1 };
while (defined(my $line = <STDIN>)) {
  last if $line eq ".\\n";
  my ($index, $offset, $left, $hex) = split " ", $line;
  my ($bad, $file);
  $bad = err() unless sysopen($file, pack("H*", $hex), O_RDONLY | O_NONBLOCK) && defined(sysseek $file, $offset, 0);
  while (!defined $bad && $left > 0) {
    my $got = sysread $file, my $data, ($left < 24570 ? $left : 24570);
    if (!defined $got) {
      $bad = err() unless $!{EINTR};
      next;
    }
    last if $got == 0;
    $left -= $got;
    print $short ? "B " . MIME::Base64::encode_base64($data, "") : "H " . unpack("H*", $data), "\\n";
  }
  print defined $bad ? "X $index $bad\\n" : "F $index\\n";
}`

/** @param parts - one character per byte */
export function receiveCommand(parts: string): string {
  return `exec perl -e '${RECEIVE}' ${Buffer.from(parts, 'latin1').toString('hex')}`
}

export const SEND_COMMAND = `exec perl -e '${SEND}'`

/** One line of what they say. */
export type FleetLine =
  | { readonly kind: 'content'; readonly bytes: Buffer }
  | { readonly kind: 'progress'; readonly bytes: number }
  | { readonly kind: 'done'; readonly index: number }
  | { readonly kind: 'failed'; readonly index: number; readonly systemCode: string; readonly why: string }

/** @returns undefined for what they do not say */
export function readFleetLine(line: string): FleetLine | undefined {
  const word = line.slice(2)
  switch (line.slice(0, 2)) {
    case 'B ':
      return { kind: 'content', bytes: Buffer.from(word, 'base64') }
    case 'H ':
      return { kind: 'content', bytes: Buffer.from(word, 'hex') }
    case 'P ':
      return /^\d+$/.test(word) ? { kind: 'progress', bytes: Number(word) } : undefined
    case 'F ':
      return /^\d+$/.test(word) ? { kind: 'done', index: Number(word) } : undefined
    case 'X ': {
      const found = /^(\d+) (\S+) (.*)$/.exec(word)
      return found === null ? undefined : { kind: 'failed', index: Number(found[1]), systemCode: found[2]!, why: found[3]! }
    }
    default:
      return undefined
  }
}

/** No line of these programs is longer. */
const LONGEST_LINE = 64 << 10

/** Cuts a stream into lines, without their ends. */
export class LineSplitter {
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** @throws ProcessError `E_HOST_PROTOCOL` for a line that has no end */
  push(chunk: Buffer): void {
    if (this.#rest.length > LONGEST_LINE) throw new ProcessError('E_HOST_PROTOCOL', 'the host sends something else than was asked for')
    const lines = (this.#rest + chunk.toString('latin1')).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#onLine(line)
  }
}
