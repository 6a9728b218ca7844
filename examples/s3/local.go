package main

import (
	"context"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// localS3 starts an S3 within the process, with one bucket.
func localS3(ctx context.Context, bucket string) (client *s3.Client, stop func(), err error) {
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	client = s3.NewFromConfig(aws.Config{
		BaseEndpoint: &server.URL, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	}, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		server.Close()
		return nil, nil, err
	}
	return client, server.Close, nil
}
