// Reads cases, decrypts their messages and writes its own; see ../../README.md.
'use strict'
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const esdk = require('@aws-crypto/client-node')
const { constants } = require('node:crypto')

const forbidding = esdk.buildClient(esdk.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
const requirePolicy = esdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT // versions 1 read key commitment only
const requiring = requirePolicy ? esdk.buildClient(requirePolicy) : forbidding

const oaep = { 'OAEP-SHA1': 'sha1', 'OAEP-SHA256': 'sha256', 'OAEP-SHA384': 'sha384', 'OAEP-SHA512': 'sha512' }

function pem(kind, der) {
  return `-----BEGIN ${kind} KEY-----\n${der.match(/.{1,64}/g).join('\n')}\n-----END ${kind} KEY-----\n`
}

function kmsClient(key) {
  const { KMS } = require('@aws-sdk/client-kms') // which old versions do not come with
  return new KMS({ region: key.name.split(':')[3], endpoint: key.endpoint })
}

function keyring(key) {
  if (key.type === 'aes') {
    // The bytes are copied: the keyring refuses a view of a pooled Buffer.
    const wrapping = Uint8Array.from(Buffer.from(key.aes, 'base64'))
    return new esdk.RawAesKeyringNode({
      keyNamespace: key.namespace,
      keyName: key.name,
      unencryptedMasterKey: wrapping,
      wrappingSuite: esdk.RawAesWrappingSuiteIdentifier[`AES${wrapping.length * 8}_GCM_IV12_TAG16_NO_PADDING`],
      utf8Sorting: true, // as the specification has it; the default is by UTF-16
    })
  }
  if (key.type === 'rsa') {
    return new esdk.RawRsaKeyringNode({
      keyNamespace: key.namespace,
      keyName: key.name,
      rsaKey: { publicKey: pem('PUBLIC', key.public), privateKey: pem('PRIVATE', key.private) },
      ...(oaep[key.padding]
        ? { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: oaep[key.padding] }
        : { padding: constants.RSA_PKCS1_PADDING }),
    })
  }
  if (key.type === 'hierarchy') {
    return new esdk.KmsHierarchicalKeyRingNode({
      keyStore: new esdk.BranchKeyStoreNode({
        storage: { ddbTableName: key.table },
        logicalKeyStoreName: key.logicalName,
        kmsConfiguration: { identifier: key.kmsKey },
      }),
      branchKeyId: key.name,
      cacheLimitTtl: 60,
      utf8Sorting: true, // as above
    })
  }
  if (key.type === 'mrk') return new esdk.AwsKmsMrkAwareSymmetricKeyringNode({ client: kmsClient(key), keyId: key.name })
  return new esdk.KmsKeyringNode({ generatorKeyId: key.name })
}

function writer(c) {
  const [generator, ...children] = c.keys.map(keyring)
  return children.length ? new esdk.MultiKeyringNode({ generator, children }) : generator
}

function reader(c) {
  const key = c.readWith || c.keys[c.reader]
  if (!c.discovery) return keyring(key)
  const [, partition, , , account] = key.name.split(':')
  const discoveryFilter = { partition, accountIDs: [account] }
  if (key.type === 'mrk') {
    return new esdk.AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({ client: kmsClient(key), discoveryFilter })
  }
  return new esdk.KmsKeyringNode({ discovery: true, discoveryFilter })
}

function plaintext(length) {
  return Buffer.alloc(length).map((_, i) => i * 7 + (i >> 8) * 13 + (i >> 16))
}

function client(c) {
  return c.suite === '0478' || c.suite === '0578' ? requiring : forbidding
}

function lacking(c) {
  const types = c.keys.map((key) => key.type)
  if (types.some((type) => ['ecdh', 'kms-ecdh', 'kms-rsa'].includes(type))) return 'no ECDH, no RSA keys of KMS'
  if (c.required) return 'no required encryption context'
}

async function encrypt(c) {
  if (lacking(c)) return { encryptSkip: lacking(c) }
  if (requiring === forbidding && (c.suite === '0478' || c.suite === '0578')) return { encryptSkip: 'reads key commitment only' }
  if (c.frameLength === 0) return { encryptSkip: 'writes no unframed messages' }
  const { result } = await client(c).encrypt(writer(c), plaintext(c.length), {
    suiteId: parseInt(c.suite, 16),
    encryptionContext: c.context || {},
    frameLength: c.frameLength,
  })
  return { message: result.toString('base64') }
}

async function decrypt(c) {
  if (lacking(c)) return { decryptSkip: lacking(c) }
  const output = await client(c).decrypt(reader(c), Buffer.from(c.message, 'base64'))
  return {
    sha256: createHash('sha256').update(output.plaintext).digest('hex'),
    context: { ...output.messageHeader.encryptionContext },
  }
}

async function main(cases, results) {
  const out = fs.createWriteStream(results)
  for (const line of fs.readFileSync(cases, 'utf8').trimEnd().split('\n')) {
    const c = JSON.parse(line)
    const result = { id: c.id }
    try {
      if (!c.altered) Object.assign(result, await encrypt(c))
    } catch (error) {
      result.encryptError = String(error)
    }
    try {
      Object.assign(result, await decrypt(c))
    } catch (error) {
      result.decryptError = String(error)
    }
    out.write(JSON.stringify(result) + '\n')
  }
  out.end()
}

main(...process.argv.slice(2))
