package main

import (
	"math"
	"strings"
)

// peers are all that RESULTS.md answers for, whether they ran or not. The name of an
// old version has the version; these have raw keys alone.
var peers = []peer{
	{"python", "Python: `aws-encryption-sdk` with its MPL extra"},
	{"javascript", "JavaScript: `@aws-crypto/client-node`"},
	{"java", "Java: `com.amazonaws:aws-encryption-sdk-java`"},
	{"official", "Go, official: `github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk`"},
	{"cli", "Command line: `aws-encryption-sdk-cli`"},
	{"rust", "Rust: `aws-esdk`"},
	{"python-1.2.2", "Python 1.2.2"},
	{"python-1.4.1", "Python 1.4.1"},
	{"python-1.7.1", "Python 1.7.1"},
	{"python-2.4.0", "Python 2.4.0"},
	{"python-3.3.0", "Python 3.3.0"},
	{"java-1.3.1", "Java 1.3.1"},
	{"java-1.6.1", "Java 1.6.1"},
	{"java-1.7.0", "Java 1.7.0"},
	{"java-2.4.1", "Java 2.4.1"},
	{"javascript-1.9.0", "JavaScript 1.9.0"},
	{"javascript-2.4.0", "JavaScript 2.4.0"},
	{"javascript-3.2.2", "JavaScript 3.2.2"},
	{"javascript-4.2.0", "JavaScript 4.2.0"},
}

type peer struct{ name, title string }

// old reports whether the peer is an old version.
func (p peer) old() bool { return strings.Contains(p.name, "-") }

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
	{
		peers: []string{"javascript-1.9.0", "javascript-2.4.0", "javascript-3.2.2"},
		match: func(c *Case, outcome string) bool {
			return strings.Contains(c.ID, "ASCII") && (strings.Contains(outcome, "unencryptedDataKey has not been set") ||
				strings.Contains(outcome, "not wrapped under this key and encryption context"))
		},
		text: "The peer's raw AES keyring sorts the encryption context by locale and not by bytes, as below, and this version has no option utf8Sorting.",
	},
	{
		peers: []string{"javascript-1.9.0", "javascript-2.4.0", "javascript-3.2.2"},
		match: func(c *Case, outcome string) bool {
			return c.FrameLength >= 16<<10 && outcome == "peer got another plaintext"
		},
		text: "The peer loses the last, shorter frame of a message whose frames have 16 KiB or more, without an error. It loses that of its own messages, too. " +
			"The peer's fault.",
	},
	{
		peers: []string{"java-1.3.1", "java-1.6.1"},
		match: func(c *Case, outcome string) bool {
			return c.FrameLength%16 != 0 && strings.Contains(outcome, "frameSize must be a multiple of 16")
		},
		text: "The peer writes only frame lengths that are multiples of 16. As under 1.",
	},
	{
		peers: []string{"java-1.3.1", "java-1.6.1"},
		match: func(c *Case, outcome string) bool {
			cut := strings.HasPrefix(c.Altered, "truncated") || strings.HasSuffix(c.Altered, "left out") || c.Altered == "final frame: marker"
			return cut && strings.Contains(outcome, "accepted")
		},
		text: "The peer does not notice that a message ends too early, and gives out the plaintext of the whole frames before. By the specification (client-apis/decrypt.md, " +
			"Decrypt the message body and Verify the signature) decryption fails. The peer's fault; esdk fails.",
	},
	{
		peers: []string{"java-1.7.0"},
		match: func(c *Case, outcome string) bool {
			return c.Altered == "signature: left out" && strings.Contains(outcome, "accepted")
		},
		text: "The peer accepts a signed message without its footer. By the specification (client-apis/decrypt.md, Verify the signature) decryption fails. The peer's fault; esdk fails.",
	},
}

func acceptedTrailing(c *Case, outcome string) bool {
	return strings.HasPrefix(c.Altered, "trailing") && strings.Contains(outcome, "accepted")
}

// explain returns the number of the explanation of a disagreement, from 1, or 0.
// What explains one of the newest version explains those of the old ones.
func explain(peer string, c *Case, outcome string) int {
	sdk, _, _ := strings.Cut(peer, "-")
	for i, e := range explanations {
		for _, name := range e.peers {
			if (name == peer || name == sdk) && e.match(c, outcome) {
				return i + 1
			}
		}
	}
	return 0
}
