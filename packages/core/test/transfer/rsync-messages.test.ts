import { describe, expect, it } from 'vitest'
import { lastWords, readComplaint, unescapeName } from '../../src/transfer/rsync/rsync-messages.js'

describe('readComplaint', () => {
  // rsync 3.5.0 of Debian 12, LC_ALL=C
  it.each([
    ['rsync: [sender] link_stat "/x/7" failed: No such file or directory (2)', '/x/7', true, 'ENOENT'],
    ['rsync: link_stat "/x/7" failed: No such file or directory (2)', '/x/7', true, 'ENOENT'],
    ['rsync: [sender] send_files failed to open "/x/a "b" c": Permission denied (13)', '/x/a "b" c', true, 'EACCES'],
    ['rsync: [receiver] open "/p/3" failed: Read-only file system (30)', '/p/3', false, 'EROFS'],
    ['rsync: [receiver] write failed on "/p/3": No space left on device (28)', '/p/3', false, 'ENOSPC'],
    ['rsync: write failed on "/p/3": Disk quota exceeded (122)', '/p/3', false, 'EDQUOT'],
    ['rsync: [generator] recv_generator: failed to stat "/p/\\#0123": Input/output error (5)', '/p/\n3', false, undefined],
    ['file has vanished: "/x/7"', '/x/7', true, 'ENOENT'],
    ['symlink has no referent: "/x/7"', '/x/7', true, 'ENOENT'],
    ['rsync: [sender] symlink has no referent: "/x/\\#0117"', '/x/\t7', true, 'ENOENT'],
  ])('reads %s', (line, path, isSource, systemCode) => {
    expect(readComplaint(line)).toEqual({ path, isSource, systemCode, why: expect.any(String) })
  })

  it.each([
    '',
    'rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]',
    'Welcome to "h1": no files today',
    'rsync: connection unexpectedly closed (0 bytes received so far) [sender]',
  ])('reads no file in %j', (text) => {
    expect(readComplaint(text)).toBeUndefined()
  })
})

describe('unescapeName', () => {
  it.each([
    ['plain', 'plain'],
    ['a\\#012b', 'a\nb'],
    ['\\#134#041', '\\#041'],
    ['\\#08 \\n', '\\#08 \\n'],
  ])('reads %j', (text, name) => {
    expect(unescapeName(text)).toBe(name)
  })
})

describe('lastWords', () => {
  it('takes the reason before the summary, and the summary when that is all', () => {
    const summary = 'rsync error: error in rsync protocol data stream (code 12) at io.c(285) [sender=3.5.0]'
    expect(lastWords(`rsync: connection unexpectedly closed\n${summary}\n`)).toBe('rsync: connection unexpectedly closed')
    expect(lastWords(`${summary}\n`)).toBe(summary)
    expect(lastWords('')).toBe('it said nothing')
  })
})
