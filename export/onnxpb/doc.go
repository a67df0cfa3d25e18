// Package onnxpb holds the Go types of the ONNX file format, generated from
// onnx-ml.proto3 of ONNX 1.18 (SPDX-License-Identifier: Apache-2.0, copyright ONNX
// Project Contributors). It covers IR version 10, the first with INT4 and UINT4.
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go_opt=Monnx-ml.proto=eisft/export/onnxpb onnx-ml.proto
