//go:build !amd64

package kernels

// Without fast forms nothing is done here and the plain ones do it all.

func fastBF16ToF32([]float32, []byte) int                { return 0 }
func fastF16ToF32([]float32, []byte) int                 { return 0 }
func fastF32ToBF16([]byte, []float32) (n, overflows int) { return 0, 0 }
func fastF32ToF16([]byte, []float32) (n, overflows int)  { return 0, 0 }
func fastBF16ToF16([]byte, []byte) (n, overflows int)    { return 0, 0 }
func fastF16ToBF16([]byte, []byte) int                   { return 0 }
func fastLoadF32([]float32, []byte) int                  { return 0 }
func fastStoreF32([]byte, []float32) int                 { return 0 }
func fastWiden([]float64, []float32) int                 { return 0 }
func fastEncodeQ8([]byte, []float32) int                 { return 0 }
func fastDecodeQ8([]float32, []byte) int                 { return 0 }
