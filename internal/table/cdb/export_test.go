package cdb

var FileSize = fileSize
