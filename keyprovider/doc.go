// Package keyprovider defines where data keys come from, and has the providers
// that need no service: raw AES, RSA and ECDH keys, and combinations of providers.
//
// A [MasterKeyProvider] is what the other AWS Encryption SDKs call a keyring, and
// a [MaterialsManager] what they call a cryptographic materials manager (CMM).
//
// Every message is encrypted under a data key of its own. A provider names the
// master keys that protect the message: the first generates the data key, each of
// the others wraps it too, and any one of them is enough to decrypt the message.
// The header of the message stores the wrapped data keys.
//
//	p, err := keyprovider.NewRawAES("my app", "key 1", key)
//	...
//	ciphertext, header, err := esdk.Encrypt(ctx, plaintext, p, nil)
//
// Whoever can use any of the master keys can read the message. Prefer keys that
// never leave a secure boundary, such as those of AWS KMS (package kms) or of an
// HSM, to raw keys, which the program must keep secret itself.
//
// # Which raw key
//
//   - [NewRawAES] with 32 bytes is the usual choice. Whoever has the key can write
//     and read. The encryption context is bound to the wrapped data key.
//   - [NewRawECDHEphemeral] and, to read, [NewRawECDHDiscovery] are for writers that
//     must not read: whoever has the recipient's public key can write, and only
//     whoever has the private key can read. The encryption context is bound to the
//     wrapped data key.
//   - [NewRawECDHStatic] is for two parties that have a private key each and know
//     the other's public key. Both can write and read.
//   - [NewRawRSA] with [OAEPSHA256] or longer is also for writers that must not
//     read. It does not bind the encryption context to the wrapped data key.
//   - [NewRawRSA] with [PKCS1v15] or [OAEPSHA1] is only for messages of old systems.
//
// crypto/x509 reads keys from PEM and DER. Namespace and name of a raw AES or RSA
// key are stored in the message and must be the same for decryption, here and in
// the other SDKs.
//
// # Several keys
//
// [Multi] makes one provider of several. Every new message is wrapped under the
// master keys of all of them, and any one opens it. To replace a key, encrypt with
// the new one and decrypt with Multi(new, old) until no message under the old key
// is left. Header.OpenedBy of package format says which entry opened a message.
//
// With Multi, encryption needs all the keys. With [Quorum] over it, or over a provider
// with keys in several Regions, encryption goes on while some of them do not answer.
//
// # Encryption context
//
// The encryption context is authenticated but stored in clear. [RequireContext]
// demands chosen keys of it on encryption and on decryption, and keeps their pairs
// out of the message.
//
// # Caching data keys
//
// A service that encrypts many small records need not call AWS KMS for each. A
// [Cache] over the provider uses each data key for several messages, up to MaxAge,
// MaxMessages and MaxBytes; each message still has an encryption key of its own.
// On decryption it makes one call for each data key instead of each message.
//
//   - The encryption context decides which messages share a data key. Put the
//     tenant or the table into it, not the number of the record or the time: a pair
//     that differs for each message makes the cache useless.
//   - A permission that was withdrawn works until MaxAge is over. Keep it to minutes.
//   - Streams of unknown length have a data key of their own if MaxBytes is set.
//     Give the length as esdk.EncryptOptions.MaxPlaintextLength.
//   - Goroutines that need the same data key wait for one call, each until its own
//     ctx is done. Errors are not cached. Near the end of MaxAge one message fetches
//     the next data key while the others use the old one.
//   - [RequireContext] works over a Cache and under it. A manager of your own that
//     must see every message, or that adds pairs to the encryption context, belongs
//     over the Cache.
//
// Package kms/hierarchical saves calls differently: every message keeps a data key
// of its own, wrapped under a cached branch key.
//
// # A provider of your own
//
// A provider is a type with the two methods of [MasterKeyProvider] and, for its
// keys, the two of [MasterKey]. The program examples/customprovider of this module
// has one for a key service in less than 80 lines. Package providertest checks
// that a provider keeps the contract: call it in a test.
//
// A type that changes how a provider works, and decides nothing about messages,
// embeds the provider: see the example of [MasterKeyProvider]. A type that
// decides, such as which suites are allowed, is a [MaterialsManager]: see the
// examples of that type and of [Materials].
//
// # Errors
//
// If no data key can be decrypted the error is a *[DecryptError] with one cause
// for each entry that was tried, or it wraps [ErrNoMatch] if no entry is the
// provider's. errors.Is and errors.As reach the causes, those of package kms and
// of AWS included.
//
// Providers, data keys and materials print without secrets: fmt, log/slog and
// encoding/json show a short text instead.
//
// # Specification
//
// The package follows the pages [keyring-interface],
// [master-key-provider-interface] and [cmm-interface] of the AWS Encryption SDK
// specification.
//
// [keyring-interface]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/keyring-interface.md
// [master-key-provider-interface]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/master-key-provider-interface.md
// [cmm-interface]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/cmm-interface.md
package keyprovider
