package lmdb

var WritePages = writePages
