package main

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/keywrap"
)

// A differenceRule explains differences of one kind: what it is, whose fault,
// and the page of the specification. It is checked on the message itself, not
// on what was done to it.
type differenceRule struct {
	name  string
	kind  string
	match func(v *verdict) bool
	text  string
}

var differenceRules = []differenceRule{
	{
		name: "reserved key that only the reader has",
		kind: onlyPeer,
		match: func(v *verdict) bool {
			h, err := format.ReadHeader(bytes.NewReader(v.c.Message), 0)
			if err != nil || !errors.Is(v.err, esdk.ErrEncryptionContext) {
				return false
			}
			for k := range v.c.decryptOptions().EncryptionContext {
				if _, stored := h.EncryptionContext[k]; !stored && strings.HasPrefix(k, format.ReservedPrefix) {
					return true
				}
			}
			return false
		},
		text: "The reader gives a pair whose key begins with `aws-crypto-`, and the message does not store it; its header's tag was made with the pair. The peer takes it as any other. " +
			"esdk refuses: by the specification (client-apis/encrypt.md, Encryption Context) the prefix is the SDKs' own and encryption with such a key of the caller's fails, so no writer can have " +
			"bound the pair; client-apis/decrypt.md has no rule of it. By design, and without effect on messages of any SDK.",
	},
	{
		name: "encryption context of more than 65,535 bytes with what only the reader has",
		kind: onlyESDK,
		match: func(v *verdict) bool {
			h, err := format.ReadHeader(bytes.NewReader(v.c.Message), 0)
			if err != nil {
				return false
			}
			all := maps.Clone(h.EncryptionContext)
			maps.Copy(all, v.c.decryptOptions().EncryptionContext)
			_, err = format.AppendEncryptionContext(nil, all)
			return err != nil && strings.Contains(v.peer.DecryptError, "serializable")
		},
		text: "The stored pairs fit the message, and together with those that the reader gives they are longer than a two-byte length can say. The peer refuses such materials. The specification " +
			"(framework/structures.md, Encryption Context; client-apis/decrypt.md, Verify the header) sets no limit to all pairs together, and raw RSA keys need none, so esdk reads the message: all of the pairs are " +
			"authenticated. Raw AES and KMS keys serialise all pairs, and both sides refuse. Neither writes such messages. The peer's restriction.",
	},
	{
		name: "malformed entry of a raw ECDH key beside a good one",
		kind: onlyESDK,
		match: func(v *verdict) bool {
			h, err := format.ReadHeader(bytes.NewReader(v.c.Message), 0)
			if err != nil || v.c.Keys[0].Type != "ecdh" || !strings.Contains(strings.ReplaceAll(v.peer.DecryptError, " ", ""), "ProviderInfo") {
				return false
			}
			return slices.ContainsFunc(h.EncryptedDataKeys, func(edk format.EncryptedDataKey) bool {
				return edk.ProviderID == "raw-ecdh" && !slices.ContainsFunc([]ecdh.Curve{ecdh.P256(), ecdh.P384(), ecdh.P521()}, func(c ecdh.Curve) bool {
					_, err := keywrap.ParseAgreement(c, edk.ProviderInfo)
					return err == nil
				})
			})
		},
		text: "The message has an encrypted data key with the provider ID `raw-ecdh` whose provider information is no such, too long for example, and another one that the key unwraps. The peer fails at the first. By the " +
			"specification (framework/raw-ecdh-keyring.md, OnDecrypt) one that cannot be deserialised is not the keyring's, and the others are attempted. The peer's fault; esdk reads the message.",
	},
}
