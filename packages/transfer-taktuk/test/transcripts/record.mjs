#!/usr/bin/env node
/**
 * Records what the taktuk of this machine prints with our templates: `node packages/transfer-taktuk/test/transcripts/record.mjs FOLDER`,
 * after a build. One line about the file comes first, then the standard output as it is.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { renderCommandLine } from '../../dist/command-line.js'
import { taktukOptions } from '../../dist/options.js'
import { markCommand } from '../../dist/templates.js'
import { closeWords, execWords, inputWords } from '../../dist/words.js'

const folder = process.argv[2]
if (folder === undefined) throw new Error('name the folder to write to')
mkdirSync(folder, { recursive: true })
const version = spawnSync('taktuk', ['--version'], { encoding: 'utf8' }).stdout.trim().split('\n')[0]

/** @param {Awaited<ReturnType<typeof startSshHosts>>} bed @param {readonly string[]} names */
async function record(bed, file, about, topology, names, act) {
  const hosts = names.map((destination) => ({ connector: `ssh -F ${bed.sshConfig} -o BatchMode=yes`, destination, connectTimeoutMs: 2000 }))
  const [program, ...words] = renderCommandLine(hosts, taktukOptions.parse({ topology }))
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  const chunks = []
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  const ended = new Promise((resolve) => child.on('close', resolve))
  const said = () => Buffer.concat(chunks).toString('latin1')
  const until = async (pattern) => {
    while (!pattern.test(said())) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await act({ write: (words) => child.stdin.write(words), until })
  child.stdin.end()
  await ended
  const head = Buffer.from(`# ${about}; ${version}, ${new Date().toISOString().slice(0, 10)}\n`)
  writeFileSync(join(folder, file), Buffer.concat([head, ...chunks]))
}

const bed = await startSshHosts(4)
try {
  bed.stopHost('h2')
  bed.freezeHost('h4')
  await record(
    bed,
    'commands.txt',
    'h1, h2 that refuses, h3, h4 that hangs; commands',
    'flat',
    ['h1', 'h2', 'h3', 'h4'],
    async ({ write, until }) => {
      const exec = (rank, channel, command) => write(execWords(rank, channel, markCommand(channel, command)))
      exec('1', 7, "cat; printf 'no end'; echo err >&2; exit 3")
      write(inputWords('1', 7, Buffer.from('two  blanks\n\n\x1d\x1e\x1f]\n')))
      write(closeWords('1', 7))
      exec('2', 8, 'kill -9 $$')
      exec('1-2', 9, 'nosuchcommand; exit 255')
      await until(/S\|3\|9\|/)
      await until(/S\|1\|9\|/)
      await until(/S\|1\|7\|/)
    },
  )
  bed.thawHost('h4')
  await record(
    bed,
    'lost.txt',
    'h1, h3, h4 in a chain; the connections of h3 end',
    'chain',
    ['h1', 'h3', 'h4'],
    async ({ write, until }) => {
      write(execWords('1-3', 5, markCommand(5, 'echo up; sleep 60')))
      await until(/(O\|[\s\S]*){3}/)
      for (const name of ['h1', 'h3', 'h4']) bed.dropSessions(name)
      await until(/E\|0\|0\|5\|/)
    },
  )
} finally {
  await bed.stop()
}
