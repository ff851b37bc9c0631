// A stranger meets a node: dial, identify, ping, fetch blocks, and check them.  Written from docs/networking.md alone.
//
//   node meet_node.mjs MULTIADDR FIRST LAST
//
// Prints one JSON object.  Ends with 1, and says why on standard error, when anything is not as specified.

import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { decode, encode } from '@msgpack/msgpack'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// Node.js 20 lacks it, and a dependency of libp2p's peer store uses it.
Promise.withResolvers ??= function () {
  const deferred = {}
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }))
  return deferred
}

const BLOCKS_PROTOCOL = '/atlas/blocks/1'
const ANSWER_BYTES_MAX = 8 * 1024 * 1024
const ANSWERED = 0

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

function taggedHash (tag, part) {
  const digest = sha256(tag)
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(part.length))
  return sha256(digest, digest, length, part)
}

async function ask (connection, body) {
  const stream = await connection.newStream(BLOCKS_PROTOCOL)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  await stream.sink([Buffer.concat([length, body])])
  const parts = []
  let size = 0
  for await (const part of stream.source) {
    parts.push(part.subarray())
    size += part.length
    if (size > ANSWER_BYTES_MAX) throw new Error(`expected at most ${ANSWER_BYTES_MAX} bytes, got more`)
  }
  await stream.close()
  const data = Buffer.concat(parts)
  if (data.length < 5 || data.readUInt32BE(0) !== data.length - 4) {
    throw new Error(`expected an answer of the length that it says, got ${data.length} bytes`)
  }
  return { answered: data[4] === ANSWERED, body: data.subarray(5) }
}

function checkBlocks (blocks, first) {
  let previous = null
  return blocks.map((block, place) => {
    const hash = taggedHash('atlas/header', block.header)
    const header = decode(block.header)
    if (header.height !== first + place) throw new Error(`expected height ${first + place}, got ${header.height}`)
    if (previous !== null && !previous.equals(header.previous)) {
      throw new Error(`height ${header.height} does not name the header below it`)
    }
    previous = hash
    return { height: header.height, hash: hash.toString('hex'), events: block.items.length, certified: block.certificate.length > 0 }
  })
}

const [address, first, last] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const client = await createLibp2p({
  connectionEncrypters: [noise()],
  services: { identify: identify({ runOnConnectionOpen: false }), ping: ping() },
  streamMuxers: [yamux()],
  transports: [tcp()]
})
try {
  const connection = await client.dial(multiaddr(address))
  const wanted = multiaddr(address).getPeerId()
  if (connection.remotePeer.toString() !== wanted) { // js-libp2p 2.10 connects all the same
    throw new Error(`expected the peer ${wanted}, got ${connection.remotePeer}`)
  }
  const identified = await client.services.identify.identify(connection)
  const rttMs = await client.services.ping.ping(connection.remotePeer)
  const answer = await ask(connection, encode({ first, last }, { sortKeys: true }))
  if (!answer.answered) throw new Error(`refused: ${answer.body.toString('ascii')}`)
  const { blocks, head } = decode(answer.body)
  const refusals = [
    await ask(connection, Buffer.from('not a range')),
    await ask(connection, encode({ first: 0, last: 1 }, { sortKeys: true }))
  ]
  console.log(JSON.stringify({
    blocks: checkBlocks(blocks, first),
    encryption: connection.encryption,
    head,
    muxer: connection.multiplexer,
    own_peer: client.peerId.toString(),
    peer: connection.remotePeer.toString(),
    protocols: identified.protocols,
    refusals: refusals.map(refusal => refusal.answered ? null : refusal.body.toString('ascii')),
    rtt_ms: rttMs
  }))
} catch (error) {
  console.error(error)
  process.exitCode = 1
} finally {
  await client.stop()
}
