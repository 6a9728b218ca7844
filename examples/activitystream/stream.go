package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// makeStream makes the records that the service would have put into Kinesis: what two
// users of the database did, a heartbeat, and in between a record that was damaged.
func makeStream(ctx context.Context, client *awskms.Client, keyARN, cluster string) (stream [][]byte, err error) {
	out, err := client.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{
		KeyId: &keyARN, KeySpec: types.DataKeySpecAes256, EncryptionContext: map[string]string{"aws:rds:dbc-id": cluster}})
	if err != nil {
		return nil, err
	}
	p, err := keyprovider.NewRawAES(namespace, name, out.Plaintext)
	if err != nil {
		return nil, err
	}
	for _, events := range []string{
		`{"type": "record", "class": "MISC", "logTime": "2026-11-23 10:00:00.1+00", "dbUserName": "alice", "command": "CONNECT", "commandText": null},
		{"type": "record", "class": "READ", "logTime": "2026-11-23 10:00:01.2+00", "dbUserName": "alice", "command": "SELECT", "commandText": "select * from orders", "rowCount": 7}`,
		`{"type": "heartbeat"}`,
		`{"type": "record", "class": "WRITE", "logTime": "2026-11-23 10:00:02.3+00", "dbUserName": "bob", "command": "UPDATE", "commandText": "update orders set open = false"}`,
	} {
		text := `{"type": "DatabaseActivityMonitoringRecord", "clusterId": "` + cluster + `", "databaseActivityEventList": [` + events + `]}`
		record, err := makeRecord(ctx, p, out.CiphertextBlob, text)
		if err != nil {
			return nil, err
		}
		stream = append(stream, record)
	}
	damaged := bytes.Clone(stream[0])
	damaged[len(damaged)/2] ^= 1
	return append(stream[:2], damaged, stream[2]), nil
}

// makeRecord makes a record of the text.
func makeRecord(ctx context.Context, p keyprovider.MasterKeyProvider, key []byte, text string) ([]byte, error) {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	service := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
	message, _, err := service.Encrypt(ctx, compressed.Bytes(), p, nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(&Record{"DatabaseActivityMonitoringRecords", "1.1", message, key})
}
