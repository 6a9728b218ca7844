package main

import (
	"math"
	"strings"
)

// peers are all that RESULTS.md answers for, whether they ran or not.
var peers = []struct{ name, title string }{
	{"python", "Python: `aws-encryption-sdk` with its MPL extra"},
	{"javascript", "JavaScript: `@aws-crypto/client-node`"},
	{"java", "Java: `com.amazonaws:aws-encryption-sdk-java`"},
	{"official", "Go, official: `github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk`"},
	{"cli", "Command line: `aws-encryption-sdk-cli`"},
	{"rust", "Rust: `aws-esdk`"},
}

// An explanation is of a disagreement that is understood: whose fault it is.
type explanation struct {
	peers []string // which show it
	match func(c *Case, outcome string) bool
	text  string
}

var explanations = []explanation{
	{
		peers: []string{"python", "cli"},
		match: func(c *Case, outcome string) bool {
			return c.FrameLength%128 != 0 && strings.Contains(outcome, "peer refused to encrypt") && strings.Contains(outcome, "multiple of the block size")
		},
		text: "The peer writes only frame lengths that are multiples of 128. The specification (client-apis/encrypt.md, Frame Length) " +
			"allows 1 to 2^32-1. The peer's restriction; it reads the other lengths.",
	},
	{
		peers: []string{"python", "cli"},
		match: acceptedTrailing,
		text: "The peer ignores bytes after the message. By the specification (client-apis/decrypt.md, Behavior) they make decryption fail. " +
			"The peer's fault; esdk fails.",
	},
	{
		peers: []string{"javascript"},
		match: func(c *Case, outcome string) bool {
			return !c.suite().Signing() && acceptedTrailing(c, outcome)
		},
		text: "The peer ignores bytes after an unsigned message. By the specification (client-apis/decrypt.md, Behavior) they make decryption fail. " +
			"The peer's fault; esdk fails.",
	},
	{
		peers: []string{"java"},
		match: func(c *Case, outcome string) bool {
			return strings.HasSuffix(c.Altered, "sequence number") && !c.suite().Signing() && strings.Contains(outcome, "accepted")
		},
		text: "The peer does not look at the sequence number that a frame of an unsigned message stores: it takes its own count for the frame's authenticated " +
			"data, so frames out of order do fail, but an altered number does not. By the specification (client-apis/decrypt.md, Decrypt the message body) " +
			"a number other than the previous plus one fails. The peer's fault, and harmless; esdk fails.",
	},
	{
		peers: []string{"python", "cli", "java"},
		match: func(c *Case, outcome string) bool {
			return c.FrameLength > math.MaxInt32 && (strings.Contains(outcome, "larger than allowed maximum") || strings.Contains(outcome, "Invalid frame length"))
		},
		text: "The peer reads no frame lengths over 2^31-1. The specification (data-format/message-header.md, Frame Length) has all of 32 bits. " +
			"The peer's restriction.",
	},
	{
		peers: []string{"java"},
		match: func(c *Case, outcome string) bool {
			return c.FrameLength == math.MaxInt32 && strings.Contains(outcome, "OutOfMemoryError")
		},
		text: "The peer allocates a whole frame before it reads or writes one, here 2^31-1 bytes, more than Java's arrays can have. The peer's restriction.",
	},
	{
		peers: []string{"java"},
		match: func(c *Case, outcome string) bool {
			return strings.HasSuffix(c.ID, "context empty") && strings.Contains(outcome, "AwsCryptoException")
		},
		text: "The peer has no empty keys or values in an encryption context. The specification (framework/structures.md, Encryption Context) sets no least length. " +
			"The peer's restriction.",
	},
	{
		peers: []string{"java"},
		match: func(c *Case, outcome string) bool {
			return strings.HasSuffix(c.ID, "context large") && strings.Contains(outcome, "32767")
		},
		text: "The peer's keys and values in an encryption context have fewer than 32,767 bytes, as it reads their 16-bit lengths as signed. By the specification " +
			"(framework/structures.md, Encryption Context) they are unsigned. The peer's restriction.",
	},
}

func acceptedTrailing(c *Case, outcome string) bool {
	return strings.HasPrefix(c.Altered, "trailing") && strings.Contains(outcome, "accepted")
}

// explain returns the number of the explanation of a disagreement, from 1, or 0.
func explain(peer string, c *Case, outcome string) int {
	for i, e := range explanations {
		for _, name := range e.peers {
			if name == peer && e.match(c, outcome) {
				return i + 1
			}
		}
	}
	return 0
}
