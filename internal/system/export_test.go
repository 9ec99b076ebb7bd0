package system

// MakeDirWith is MakeDir with another sync.
var MakeDirWith = makeDir
