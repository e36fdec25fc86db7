x.listen(3000)
