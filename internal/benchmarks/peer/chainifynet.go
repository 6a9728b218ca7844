package peer

import (
	"context"
	"fmt"
	"maps"

	"github.com/chainifynet/aws-encryption-sdk-go/pkg/client"
	"github.com/chainifynet/aws-encryption-sdk-go/pkg/materials"
	"github.com/chainifynet/aws-encryption-sdk-go/pkg/providers/rawprovider"
	chainifysuite "github.com/chainifynet/aws-encryption-sdk-go/pkg/suite"

	"github.com/esdk-go/esdk/suite"
)

// Chainifynet is the Go module of chainifynet. It wraps data keys under an AES key that it
// derives from Key, so nobody else reads its messages as they are.
func Chainifynet(id suite.ID, frameLength int) (*Peer, error) {
	keys, err := rawprovider.NewWithOpts("benchmarks", rawprovider.WithStaticKey("key", Key))
	if err != nil {
		return nil, err
	}
	manager, err := materials.NewDefault(keys)
	if err != nil {
		return nil, err
	}
	algorithm, err := chainifysuite.ByID(uint16(id))
	if err != nil {
		return nil, err
	}
	c, ctx := client.NewClient(), context.Background()
	return &Peer{
		Name: "chainifynet",
		EncryptRecord: func(record []byte, ec Context) ([]byte, error) {
			message, _, err := c.Encrypt(ctx, record, ec.Pairs, manager, client.WithAlgorithm(algorithm), client.WithFrameLength(frameLength))
			return message, err
		},
		DecryptRecord: func(message []byte, ec Context) ([]byte, error) {
			record, header, err := c.Decrypt(ctx, message, manager)
			if err != nil {
				return nil, err
			}
			stored := header.AADData().EncryptionContext()
			delete(stored, "aws-crypto-public-key")
			if !maps.Equal(stored, ec.Pairs) {
				return nil, fmt.Errorf("the encryption context is %v", stored)
			}
			return record, nil
		},
	}, nil
}
