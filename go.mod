module github.com/esdk-go/esdk

go 1.25.0
